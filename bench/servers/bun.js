// Echoes on Bun.
//   bun.js [CERTIFICATE KEY]
const [certificate, key] = process.argv.slice(2);

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  ...(certificate && { tls: { cert: Bun.file(certificate), key: Bun.file(key) } }),
  fetch: (request, server) => server.upgrade(request) ? undefined : new Response('WebSocket only', { status: 426 }),
  websocket: {
    maxPayloadLength: 1 << 30,
    backpressureLimit: 1 << 30,
    idleTimeout: 0,
    perMessageDeflate: false,
    message: (socket, message) => { socket.send(message) },
  },
});
console.log(server.port, 'Bun', Bun.version);
