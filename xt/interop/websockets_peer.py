"""Python websockets as a peer of xt/interop.t, which describes the argument and the output."""
import asyncio
import json
import re
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

plan = json.loads(sys.argv[1])
factory = ClientPerMessageDeflateFactory if plan["role"] == "client" else ServerPerMessageDeflateFactory
options = dict(
    server_no_context_takeover=plan["no_takeover"], client_no_context_takeover=plan["no_takeover"],
    server_max_window_bits=plan["bits"], client_max_window_bits=plan["bits"],
)
extensions = [factory(**options)] if plan["deflate"] else None
common = dict(extensions=extensions, compression=None, max_size=None)


async def echo(connection):
    extensions = connection.protocol.extensions
    print("open", connection.subprotocol or "none", "compressed" if extensions else "plain", flush=True)
    try:
        while True:
            message = await connection.recv()
            close = isinstance(message, str) and re.match(r"close (\d+) (.*)", message)
            if close:
                await connection.close(int(close[1]), close[2])
            else:
                await connection.send(message)
    except ConnectionClosed:
        print("closed", connection.close_code, connection.close_reason, flush=True)


async def main():
    if plan["role"] == "client":
        for _ in range(plan["connections"]):
            url = f"ws://127.0.0.1:{plan['port']}/"
            async with connect(url, subprotocols=["chat.v2", "chat.v1"], **common) as connection:
                await echo(connection)
        return
    async with serve(echo, "127.0.0.1", 0, subprotocols=["chat.v1"], **common) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.wait_closed()


asyncio.run(main())
