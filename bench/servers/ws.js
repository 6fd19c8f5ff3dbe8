// A server on the npm package ws.
//   ws.js MODE [CERTIFICATE KEY]
// Modes: echo; broadcast, each message to all connections; deflate and deflate_each, a compressed echo.
const { readFileSync } = require('fs');
const { WebSocketServer } = require('ws');
const [mode, certificate, key] = process.argv.slice(2);

const server = certificate
  ? require('https').createServer({ cert: readFileSync(certificate), key: readFileSync(key) })
  : require('http').createServer();
const perMessageDeflate = mode.startsWith('deflate') && { threshold: 0 };
const sockets = new WebSocketServer({ server, maxPayload: 1 << 30, perMessageDeflate });
const toAll = (data, isBinary) => {
  for (const socket of sockets.clients) socket.send(data, { binary: isBinary });
};
sockets.on('connection', socket => {
  const echo = (data, isBinary) => socket.send(data, { binary: isBinary });
  socket.on('message', mode === 'broadcast' ? toAll : echo);
});
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port, `ws ${require('ws/package.json').version}, Node ${process.version}`);
});
