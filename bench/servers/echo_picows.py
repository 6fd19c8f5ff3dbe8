# Echoes on picows, with uvloop where that is installed. picows itself uses aiofastnet's transports if that is installed.
#   echo_picows.py echo [CERTIFICATE KEY]
import asyncio
import ssl
import sys
from importlib.metadata import PackageNotFoundError, version

from picows import WSListener, WSMsgType, ws_create_server

try:
    from uvloop import run
except ImportError:
    from asyncio import run


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


def transports():
    try:
        return f"aiofastnet {version('aiofastnet')}"
    except PackageNotFoundError:
        return "the loop's transports"


async def main(tls=None):
    if sys.argv[2:]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*sys.argv[2:])
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", 0, max_frame_size=1 << 30, ssl=tls)
    loop = run.__module__.partition(".")[0]
    about = f"picows {version('picows')} on {transports()} and {loop}, Python {sys.version.split()[0]}"
    print(server.sockets[0].getsockname()[1], about, flush=True)
    await server.serve_forever()


run(main())
