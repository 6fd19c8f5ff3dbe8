// Node ws as a peer of xt/interop-deflate.t: echoes as a server, which prints its port, or as a client of a given port.
//   node ws.js server|client PORT NO_CONTEXT_TAKEOVER WINDOW_BITS
const WebSocket = require('ws');
const [role, port, noTakeover, bits] = process.argv.slice(2);
const perMessageDeflate = {
  threshold: 0,
  serverNoContextTakeover: noTakeover === '1', clientNoContextTakeover: noTakeover === '1',
  serverMaxWindowBits: Number(bits), clientMaxWindowBits: Number(bits),
};
const echo = socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));

if (role === 'server') {
  const server = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate }, () => console.log(server.address().port));
  server.on('connection', echo);
} else {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate });
  socket.on('error', error => { console.error(error); process.exit(1); });
  socket.on('close', () => process.exit(0));
  echo(socket);
}
