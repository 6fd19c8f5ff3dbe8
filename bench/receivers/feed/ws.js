// Receives a feed with the npm package ws, and tells a message of another length how many came before it.
//   ws.js SCHEME PORT BYTES
const WebSocket = require('ws');
const [scheme, port, size] = process.argv.slice(2);
const length = Number(size);
const options = { rejectUnauthorized: false, perMessageDeflate: false };
const socket = new WebSocket(`${scheme}://127.0.0.1:${port}/${process.pid}`, options);
let received = 0;

socket.on('message', data => {
  if (data.length === length) received++;
  else socket.send(String(received));
});
