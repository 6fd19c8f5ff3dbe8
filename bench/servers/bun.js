// A server on Bun, which has uWebSockets inside.
//   bun.js MODE [CERTIFICATE KEY]
// Modes: echo; broadcast, each message to all connections; deflate and deflate_each, a compressed echo.
const [mode, certificate, key] = process.argv.slice(2);

const handlers = {
  echo: (socket, message) => { socket.send(message) },
  broadcast: (socket, message) => { server.publish('all', message) },
  deflate: (socket, message) => { socket.send(message, true) },
};
handlers.deflate_each = handlers.deflate;
// A shared compressor keeps no context between messages.
const compressor = { deflate: 'dedicated', deflate_each: 'shared' }[mode];

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  ...(certificate && { tls: { cert: Bun.file(certificate), key: Bun.file(key) } }),
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response('WebSocket only', { status: 426 }),
  websocket: {
    maxPayloadLength: 1 << 30,
    backpressureLimit: 1 << 30,
    idleTimeout: 0,
    perMessageDeflate: compressor ? { compress: compressor, decompress: compressor } : false,
    open: socket => { if (mode === 'broadcast') socket.subscribe('all') },
    message: handlers[mode],
  },
});
console.log(server.port, 'Bun', Bun.version);
