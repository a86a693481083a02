"""WebSocket frames, byte for byte (RFC 6455), and an instance's side of a handshake."""

import base64
import hashlib
import os
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


def xor(data, key):
    pad = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(data), "big")


def frame(opcode, payload=b"", masked=False, fin=True):
    """A frame; a client's is masked, with a random key."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += struct.pack(">BH", mask | 126, size)
    else:
        head += struct.pack(">BQ", mask | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + xor(payload, key)


def close_frame(code, masked=False):
    return frame(CLOSE, struct.pack(">H", code), masked)


def read_frame(wire, masked=False):
    """The next frame, as (opcode, payload, is it the last fragment); its mask must be as said."""
    first, second = wire.exactly(2)
    assert bool(second & 0x80) == masked, f"the mask bit of {first:#x} {second:#x}"
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(wire.exactly(2 if size == 126 else 8), "big")
    key = wire.exactly(4) if masked else None
    payload = wire.exactly(size)
    return first & 0x0F, xor(payload, key) if key else payload, bool(first & 0x80)


def read_close(wire, masked=False):
    """The next frame, which must be a Close, as (code, reason)."""
    opcode, payload, last = read_frame(wire, masked)
    assert (opcode, last) == (CLOSE, True), (opcode, payload)
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def agreement(request):
    key = base64.b64encode(hashlib.sha1(request.get("Sec-WebSocket-Key").encode() + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )


class Upgraded:
    """A script that agrees to a WebSocket and leaves the connection to the test: wait(). `sent` goes with it."""

    def __init__(self, sent=b""):
        self.sent = sent
        self.arrived = threading.Semaphore(0)
        self.connections = []

    def __call__(self, connection, request):
        connection.send(agreement(request) + self.sent)
        connection.socket.settimeout(15)
        self.connections.append(connection)
        self.arrived.release()
        connection.ended.wait(60)

    def wait(self):
        """The connection of the next one that has arrived."""
        assert self.arrived.acquire(timeout=15), "no upgrade reached the instance"
        return self.connections[-1]
