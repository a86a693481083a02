"""A client that sends exact bytes and reads strictly parsed responses."""

import socket

from . import http1
from .waiting import PATIENCE
from .wire import Wire


class RawClient(Wire):
    def __init__(self, port, host="127.0.0.1", timeout=PATIENCE, receive_buffer=None, source=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((host, port))
        super().__init__(sock, timeout)
        self.is_last = False  # the answer that came last says that the connection ends

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, method="GET", target="/", fields=(), body=b"", host="app.test", version="1.1"):
        """Sends a request; a body gets its Content-Length unless the fields frame it."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += fields
        named = {line.partition(":")[0].lower() for line in fields}
        if body and not named & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def response(self, method="GET"):
        response = http1.read_response(self, method)
        self.is_last = "close" in response.options("Connection")
        return response

    def ask(self, method="GET", target="/", fields=(), body=b"", host="app.test", version="1.1"):
        self.request(method, target, fields, body, host, version)
        return self.response(method)


def ask(port, method="GET", target="/", fields=(), body=b"", host="app.test", version="1.1"):
    """One request on a connection of its own."""
    with RawClient(port) as client:
        return client.ask(method, target, fields, body, host, version)
