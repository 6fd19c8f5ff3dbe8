// Receives a feed with Bun's WebSocket, and tells a message of another length how many came before it.
//   bun.js SCHEME PORT BYTES
const [scheme, port, size] = process.argv.slice(2);
const length = Number(size);
const socket = new WebSocket(`${scheme}://127.0.0.1:${port}/${process.pid}`, { tls: { rejectUnauthorized: false } });
let received = 0;

socket.onmessage = ({ data }) => {
  if (data.length === length) received++;
  else socket.send(String(received));
};
