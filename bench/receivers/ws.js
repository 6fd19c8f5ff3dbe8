// Node ws as the receiver of bench/deflate.pl.
const WebSocket = require('ws');
const [port, count] = process.argv.slice(2).map(Number);
const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: true });
let received = 0;
let octets = 0;
let start;

socket.on('message', data => {
  start ??= process.cpuUsage();
  octets += data.length;
  if (++received < count) return;
  const { user, system } = process.cpuUsage(start);
  console.log(`cpu_us=${((user + system) / count).toFixed(4)} octets=${octets}`);
  process.exit(0);
});
