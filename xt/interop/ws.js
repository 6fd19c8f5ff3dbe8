// Node ws as a peer of xt/interop.t, which describes the argument and the output.
const WebSocket = require('ws');
const plan = JSON.parse(process.argv[2]);
const perMessageDeflate = plan.deflate ? {
  threshold: 0,
  serverNoContextTakeover: plan.no_takeover, clientNoContextTakeover: plan.no_takeover,
  serverMaxWindowBits: plan.bits, clientMaxWindowBits: plan.bits,
} : false;

function echo(socket) {
  console.log('open', socket.protocol || 'none', socket.extensions ? 'compressed' : 'plain');
  socket.on('message', (data, isBinary) => {
    const [, code, reason] = !isBinary && /^close (\d+) (.*)/.exec(data) || [];
    if (code) socket.close(Number(code), reason);
    else socket.send(data, { binary: isBinary });
  });
  socket.on('close', (code, reason) => console.log('closed', code, reason.toString()));
}

function connect(count) {
  if (count === 0) return;
  const socket = new WebSocket(`ws://127.0.0.1:${plan.port}/`, ['chat.v2', 'chat.v1'], { perMessageDeflate });
  socket.on('open', () => echo(socket));
  socket.on('error', error => { console.error(error); process.exit(1); });
  socket.on('close', () => connect(count - 1));
}

if (plan.role === 'server') {
  const handleProtocols = offered => offered.has('chat.v1') && 'chat.v1';
  const options = { host: '127.0.0.1', port: 0, perMessageDeflate, handleProtocols };
  const server = new WebSocket.Server(options, () => console.log('listening', server.address().port));
  server.on('connection', echo);
} else {
  connect(plan.connections);
}
