// Echoes on the npm package ws.
//   ws.js [CERTIFICATE KEY]
const { readFileSync } = require('fs');
const { WebSocketServer } = require('ws');
const [certificate, key] = process.argv.slice(2);

const server = certificate
  ? require('https').createServer({ cert: readFileSync(certificate), key: readFileSync(key) })
  : require('http').createServer();
const sockets = new WebSocketServer({ server, maxPayload: 1 << 30, perMessageDeflate: false });
sockets.on('connection', socket => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port, `ws ${require('ws/package.json').version}, Node ${process.version}`);
});
