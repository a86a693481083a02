"""An instance on http.server that answers each request with what it saw of it, as JSON, and prints the same as
a line. The first line that it prints is its port."""

import hashlib
import http.server
import json
import re
import sys
import threading

lock = threading.Lock()


def say(record):
    with lock:
        print(json.dumps(record), flush=True)


class Mirror(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.reflect
        raise AttributeError(name)

    def chunks(self):
        """Chunked bodies are the handler's own matter here."""
        while True:
            size = int(self.rfile.readline().rstrip(b"\r\n"), 16)
            piece = self.rfile.read(size)
            if size == 0:
                while self.rfile.readline() not in (b"\r\n", b""):
                    pass
                return
            if len(piece) < size or self.rfile.read(2) != b"\r\n":
                raise EOFError
            yield piece

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self.chunks())
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise EOFError
        return body

    def reflect(self):
        try:
            body = self.body()
        except (EOFError, ValueError, ConnectionError):
            self.close_connection = True  # cut: no request
            return
        # self.path is not as it came: it has lost what stands before a second slash.
        target = self.raw_requestline.decode("latin-1").split(" ")[1]
        record = {
            "id": self.headers.get("X-Request-Id"),
            "method": self.command,
            "target": target,
            "length": len(body),
            # What is sent to another mirror differs by its name, whole or cut: the letters of all names are one.
            "hash": hashlib.sha256(re.sub(rb"[acdeghinoprstxyH]", b"H", body)).hexdigest(),
        }
        say({"server": sys.argv[1], **record})
        data = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code, message=None, explain=None):
        say({"server": sys.argv[1], "fault": code, "bytes": self.raw_requestline.decode("latin-1")[:300]})
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Mirror)
print(json.dumps([server.server_address[1]]), flush=True)
server.serve_forever()
