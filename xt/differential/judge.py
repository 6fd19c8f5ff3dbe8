"""What wsproto and websockets make of the streams of a file: judge.py FILE wsproto|websockets

The file and the output are as in play.pl.
"""

import hashlib
import sys

import websockets
import wsproto
from websockets.frames import Opcode
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, Ping

try:
    from websockets.protocol import Protocol, Side
except ImportError:  # before websockets 11
    from websockets.connection import Connection as Protocol, Side


def play_wsproto(is_client, octets, messages, pongs):
    connection = Connection(ConnectionType.CLIENT if is_client else ConnectionType.SERVER)
    connection.receive_data(octets)
    parts = []
    for event in connection.events():
        if isinstance(event, Message):
            is_text = isinstance(event.data, str)
            parts.append(event.data.encode() if is_text else bytes(event.data))
            if event.message_finished:
                messages.append((b"1" if is_text else b"2") + b"".join(parts))
                parts = []
        elif isinstance(event, Ping):
            pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            if connection.state is not ConnectionState.REMOTE_CLOSING:
                return f"failed {int(event.code)} {event.reason}"
            return closed(event.code, event.reason)
    return "open"


def play_websockets(is_client, octets, messages, pongs):
    protocol = Protocol(Side.CLIENT if is_client else Side.SERVER, max_size=None)
    protocol.receive_data(octets)
    opcode, parts = None, []
    for frame in protocol.events_received():
        if frame.opcode is Opcode.PING:
            pongs.append(bytes(frame.data))
        if frame.opcode not in (Opcode.CONT, Opcode.TEXT, Opcode.BINARY):
            continue
        if frame.opcode is not Opcode.CONT:
            opcode, parts = frame.opcode, []
        parts.append(bytes(frame.data))
        if frame.fin:
            message = b"".join(parts)
            # This layer leaves the decoding of text, as a whole, to the next one.
            if opcode is Opcode.TEXT and not is_utf8(message):
                return "failed 1007 the caller's UTF-8 decoder"
            messages.append(b"%d" % opcode + message)
    if protocol.parser_exc is not None:
        return f"failed {int(protocol.close_sent.code)} {protocol.parser_exc}"
    if protocol.close_rcvd is not None:
        return closed(protocol.close_rcvd.code, protocol.close_rcvd.reason)
    return "open"


def is_utf8(octets):
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def closed(code, reason):
    return f"closed {int(code)} {(reason or '').encode().hex()}"


def listed(values):
    return "".join((hashlib.md5(v).hexdigest() if len(v) > 32 else v.hex()) + "," for v in values)


def main(path, which):
    play = {"wsproto": play_wsproto, "websockets": play_websockets}[which]
    with open(path, encoding="ascii") as file:
        for line in file:
            number, role, _kind, *chunks = line.rstrip("\n").split("\t")
            messages, pongs = [], []
            end = play(role == "client", bytes.fromhex("".join(chunks)), messages, pongs)
            print(number, " ".join(end.split()), listed(messages), listed(pongs), sep="\t")


if sys.argv[1:]:
    main(*sys.argv[1:])
else:
    print(f"wsproto {wsproto.__version__}, websockets {websockets.__version__}")
