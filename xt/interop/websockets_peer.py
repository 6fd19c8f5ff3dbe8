"""Python websockets as a peer of xt/interop-deflate.t, with the arguments of ws.js beside it."""
import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

role, port, no_takeover, bits = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])
options = dict(
    server_no_context_takeover=no_takeover, client_no_context_takeover=no_takeover,
    server_max_window_bits=bits, client_max_window_bits=bits,
)


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    if role == "client":
        extensions = [ClientPerMessageDeflateFactory(**options)]
        async with connect(f"ws://127.0.0.1:{port}/", extensions=extensions, compression=None) as connection:
            return await echo(connection)
    extensions = [ServerPerMessageDeflateFactory(**options)]
    async with serve(echo, "127.0.0.1", 0, extensions=extensions, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.wait_closed()


asyncio.run(main())
