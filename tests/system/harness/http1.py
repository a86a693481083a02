"""A small, strict HTTP/1.1 reader for both directions (RFC 9112): what upswap sends must have one reading."""

import re

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.([01])\Z")


class ProtocolError(AssertionError):
    pass


def demand(truth, sentence):
    if not truth:
        raise ProtocolError(sentence)


class Message:
    """A head and, once read, its body. `fields` is a list of (name, value) as they came, as text."""

    def __init__(self, raw):
        demand(raw.endswith(b"\r\n\r\n"), f"no end of head: {raw!r}")
        self.raw = raw
        lines = raw[:-4].split(b"\r\n")
        self.start_line = lines[0]
        self.fields = [self._field(line) for line in lines[1:]]
        self.body = b""
        self.trailers = []
        self.chunks = 0

    @staticmethod
    def _field(line):
        name, colon, value = line.partition(b":")
        demand(colon and TOKEN.match(name), f"bad field line {line!r}")
        demand(VALUE.match(value), f"bad field value {line!r}")
        return name.decode("latin-1"), value.strip(b" \t").decode("latin-1")

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def get(self, name, default=None):
        """The one value of a field; more than one is a fault."""
        values = self.all(name)
        demand(len(values) < 2, f"{name} came {len(values)} times")
        return values[0] if values else default

    def options(self, name):
        """The members of a list field, in lower case."""
        return [item.strip().lower() for value in self.all(name) for item in value.split(",") if item.strip()]

    @property
    def text(self):
        return self.body.decode("utf-8")

    def framing(self):
        """None, "chunked", or a length, as the head says it."""
        codings = self.options("Transfer-Encoding")
        lengths = self.all("Content-Length")
        demand(not (codings and lengths), "Content-Length with Transfer-Encoding")
        demand(codings in ([], ["chunked"]), f"Transfer-Encoding {codings}")
        demand(len(lengths) < 2, "repeated Content-Length")
        if codings:
            return "chunked"
        if lengths:
            demand(re.fullmatch("[0-9]+", lengths[0]), f"Content-Length {lengths[0]!r}")
            return int(lengths[0])
        return None

    def read_chunks(self, wire):
        pieces = []
        while True:
            size = wire.until(b"\r\n")[:-2]
            demand(re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size), f"chunk size line {size!r}")
            count = int(size, 16)
            if count == 0:
                break
            self.chunks += 1
            pieces.append(wire.exactly(count))
            demand(wire.exactly(2) == b"\r\n", "chunk without CRLF")
        self.body = b"".join(pieces)
        while (line := wire.until(b"\r\n")[:-2]) != b"":
            self.trailers.append(self._field(line))


class Response(Message):
    def __init__(self, raw):
        super().__init__(raw)
        match = STATUS_LINE.match(self.start_line)
        demand(match, f"status line {self.start_line!r}")
        self.minor = int(match[1])
        self.status = int(match[2])
        self.reason = match[3].decode("latin-1")
        self.interim = []

    @property
    def keeps_alive(self):
        options = self.options("Connection")
        return "close" not in options and (self.minor == 1 or "keep-alive" in options)

    @property
    def upswap(self):
        return self.get("X-Upswap")

    def read_body(self, wire, method):
        framing = self.framing()
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            return
        if framing == "chunked":
            demand(self.minor == 1, "chunked in HTTP/1.0")
            self.read_chunks(wire)
        elif framing is not None:
            self.body = wire.exactly(framing)
        else:
            demand(not self.keeps_alive, "a body without length on a connection that stays")
            self.body = wire.to_end()


class Request(Message):
    def __init__(self, raw):
        super().__init__(raw)
        match = REQUEST_LINE.match(self.start_line)
        demand(match, f"request line {self.start_line!r}")
        self.method = match[1].decode()
        self.target = match[2].decode()
        self.minor = int(match[3])

    @property
    def path(self):
        return self.target.partition("?")[0]

    @property
    def keeps_alive(self):
        return "close" not in self.options("Connection")

    def read_body(self, wire):
        framing = self.framing()
        if framing == "chunked":
            self.read_chunks(wire)
        elif framing:
            self.body = wire.exactly(framing)


def read_response(wire, method="GET"):
    """The next final response; 1xx before it are kept in its `interim`. A 101 is final."""
    interim = []
    while True:
        response = Response(wire.until(b"\r\n\r\n"))
        if response.status >= 200 or response.status == 101:
            break
        interim.append(response)
    response.interim = interim
    response.read_body(wire, method)
    return response


def read_request_head(wire):
    return Request(wire.until(b"\r\n\r\n"))


def chunked(*pieces, trailers=b""):
    """Pieces of bytes as a chunked body."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return body + b"0\r\n" + trailers + b"\r\n"


def answer(body=b"ok\n", status="200 OK", fields=(), framing="length"):
    """A response as bytes: framing "length", "chunked", "close" or None (no body)."""
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status}", *fields]
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = chunked(body) if body else chunked()
    elif framing == "close":
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
