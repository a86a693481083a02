"""Requests, valid, borderline and mutilated, from a seed. The host that they are for stands in them as HOST."""

HOST = b"HHHHH.test"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
END = b"GET /end HTTP/1.1\r\nHost: " + HOST + b"\r\nConnection: close\r\n\r\n"

METHODS = [b"GET"] * 9 + [b"POST"] * 9 + [b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"BREW", b"M-SEARCH", b"get", b"GE", b"!X"]

TARGETS = [
    b"/", b"/a/b", b"//a", b"///", b"//" + HOST + b"/a", b"/a//b//", b"/a/../b", b"/../../etc", b"/a/./b", b"/.", b"/..", b"/...",
    b"/%2e%2e/x", b"/a/%2E./b", b"/a%2fb", b"/a%5cb", b"/%00", b"/a%0d%0aX:y", b"/a%20b", b"/%25", b"/%2525", b"/%zz", b"/%", b"/a%4",
    b"/a\\b", b"\\a", b"/a?b=c", b"/?", b"/??", b"/?x=/../y", b"/a?b?c=%23", b"/a;b=c/d", b"/a#b", b"/#", b"/a|b", b"/{x}", b"/a^b",
    b'/"q"', b"/<x>", b"/a`b", b"/:80/", b"/@x", b"/http://x/", b"/a&b", b"/+a", b"/~a", b"/a=b", b"/\xc3\xa4", b"/%c3%a4",
    b"http://" + HOST + b"/abs?x", b"http://" + HOST, b"http://" + HOST + b"?q", b"HTTP://" + HOST + b"/up", b"http://other.test/x",
    b"https://" + HOST + b"/s", b"http://" + HOST + b":80/p", b"http://me@" + HOST + b"/u", b"ftp://" + HOST + b"/f", b"*", b"a", b"?a",
    HOST + b":80", b"/" + b"l" * 3000, b"/" + b"%41" * 500, b"/?" + b"q=1&" * 300,
]

FIELDS = [
    b"X-A: b", b"X-B:", b"X-C: \t v \t", b"X-D: a:b:c", b"X-E: \xe4\xff", b"x-f: " + b"v" * 2000, b"X-G: a, b,, c", b"X-H: \"q\\\"\"",
    b"Connection: keep-alive", b"Connection: x-a", b"Connection: content-length", b"Connection: transfer-encoding",
    b"Connection: Content-Length", b"Connection: x-a, content-length", b"connection: Transfer-Encoding,x-a",
    b"Connection: host", b"Connection: close, x-b", b"Connection: x-request-id", b"Connection: ,,", b"Connection: Keep-Alive, TE",
    b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: more", b"Upgrade: h2c", b"Upgrade: websocket\r\nConnection: upgrade",
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings", b"TE: trailers", b"TE: chunked",
    b"Trailer: X-T", b"Trailer: Content-Length", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"X-Request-Id: forged",
    b"Max-Forwards: 0", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=x", b"X-Original-URL: /evil", b"X-HTTP-Method-Override: DELETE",
    b"Content_Length: 5", b"Transfer_Encoding: chunked", b"Content-Length-: 5", b"X-Transfer-Encoding: chunked", b"Content-Encoding: gzip",
    b"Content-Type: text/plain", b"Accept-Encoding: gzip", b"Cookie: a=b; c=d", b"Range: bytes=0-1", b"If-None-Match: *", b"Via: 1.0 x",
]

FRAMINGS = [  # that may be refused
    b"Content-Length: %d\r\nContent-Length: %d", b"Content-Length: %d, %d", b"Content-Length: +%d", b"Content-Length: 0%d",
    b"Content-Length: %d ", b"Content-Length:\t%d", b"Content-Length: 0x%x", b"Content-Length : %d", b"Content-Length:\r\n %d",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: %d",
    b"Transfer-Encoding: identity\r\nContent-Length: %d", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: CHUNKED", b"transfer-encoding:chunked", b"Transfer-Encoding: chunked,",
    b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\nX: y", b"Content-Length: -%d",
    b"Content-Length: 18446744073709551617", b"Content-Length: %d\x00", b"\x00Content-Length: %d", b"Content-Length\x00: %d",
]

SCRAPS = [
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\n\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0", b"\xff",
    b"%", b"#", b"?", b"/", b"\\", b"0", b"9", b"chunked", b"0\r\n\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\nHost: x\r\n",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"HTTP/0.9",
]


def _chunks(random, body):
    """A chunked body, with most of what the grammar allows, and something that it does not."""
    out = b""
    while body:
        count = random.randrange(len(body) // 4 + 1, len(body) + 1)
        size = random.choice((b"%x", b"%X", b"%04x", b"%x", b"%x")) % count
        out += size + random.choice((b"",) * 30 + (b";a", b";a=b", b';a="\\"b"') * 3 + (b" ;a = b", b";", b" ", b"\n"))
        out += b"\r\n" + body[:count] + random.choice((b"\r\n",) * 40 + (b"\n", b""))
        body = body[count:]
    trailers = (b"",) * 6 + (b"X-T: v\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: other.test\r\n", b"X : y\r\n")
    return out + random.choice((b"0", b"0", b"0", b"000", b"0;x")) + b"\r\n" + random.choice(trailers) + b"\r\n"


def _body(random):
    return random.choice((b"", b"x", b"abc", SMUGGLED, SMUGGLED * 2, b"0\r\n\r\n" + SMUGGLED, b"\r\n", b"b" * 300, bytes(range(256))))


def _request(random):
    target = random.choice(TARGETS) if random.random() < 0.5 else b"/plain?%d" % random.randrange(1000)
    lines = [random.choice(METHODS) + b" " + target + b" HTTP/1." + random.choice((b"1",) * 12 + (b"0",))]
    lines.append(b"Host: " + HOST + random.choice((b"", b"", b"", b"", b":80", b".")))
    lines += random.sample(FIELDS, random.choice((0, 0, 1, 1, 2, 4)))
    body, framing = _body(random), random.random()
    if framing < 0.35:
        lines.append(b"Content-Length: %d" % (len(body) + random.choice((0,) * 20 + (1, -1, 5))) if body else b"Content-Length: 0")
    elif framing < 0.65:
        lines.append(b"Transfer-Encoding: chunked")
        body = _chunks(random, body)
    elif framing < 0.70:
        line = random.choice(FRAMINGS)
        lines.append(line % ((len(body),) * line.count(b"%")) if b"%" in line else line)
        body = _chunks(random, body) if random.random() < 0.5 else body
    else:
        body = b""
    fields = random.sample(lines[1:], len(lines) - 1)
    return b"\r\n".join([lines[0], *fields]) + b"\r\n\r\n" + body


def _mutilated(random, data):
    at = random.randrange(len(data))
    scrap = random.choice(SCRAPS)
    kind = random.randrange(4)
    if kind == 0:
        return data[:at] + scrap + data[at:]
    if kind == 1:
        return data[:at] + data[at + random.choice((1, 1, 2, 8)) :]
    if kind == 2:
        return data[:at] + scrap + data[at + len(scrap) :]
    lines = data.split(b"\r\n")
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    return b"\r\n".join(lines)


def connection(random):
    """What one client sends: a list of pieces, each a write; and the number of requests that were meant."""
    count = random.choice((1, 2, 2, 3, 4))
    data = b"".join(_request(random) for _ in range(count))
    while random.random() < 0.3:
        data = _mutilated(random, data)
    data += END
    cuts = sorted(random.randrange(len(data)) for _ in range(random.choice((0, 0, 1, 3))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)]) if a < b], count + 1


H2_PATHS = [target for target in TARGETS if len(target) < 2000] + [b"", b"/a b", b"/a\r\nX: y", b"/a HTTP/1.1\r\nHost: x\r\n\r\n", b"/\0", b"/\x7f"]

H2_FIELDS = [
    (b"x-a", b"b"), (b"x-b", b""), (b"x-c", b"a\r\nTransfer-Encoding: chunked"), (b"x-d", b"a\nb"), (b"x-e", b"a\0b"), (b"x-f\r\nx", b"y"),
    (b"X-Upper", b"y"), (b"x g", b"y"), (b"x:h", b"y"), (b"", b"y"), (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity"),
    (b"connection", b"close"), (b"connection", b"content-length"), (b"upgrade", b"h2c"), (b"keep-alive", b"x"), (b"proxy-connection", b"x"),
    (b"te", b"trailers"), (b"te", b"chunked"), (b"host", HOST), (b"host", b"other.test"), (b"content-length", b"3"), (b"content-length", b"0"),
    (b"content-length", b"+3"), (b"content-length", b"3,3"), (b"content-length", b"99999999999999999999"), (b"expect", b"100-continue"),
    (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b":path", b"/second"), (b":foo", b"x"), (b":status", b"200"), (b"content_length", b"5"),
    (b"x-request-id", b"forged"), (b"x-v", b" spaced "), (b"x-w", b"\xe4"), (b"http2-settings", b"AA"), (b"trailer", b"content-length"),
]


def stream(random):
    """A request of HTTP/2: its fields, and its body or None."""
    pseudo = [
        (b":method", random.choice(METHODS + [b"G T", b"GET\r\n", b"", b"CONNECT"])),
        (b":scheme", random.choice((b"http", b"http", b"http", b"https", b"ftp", b""))),
        (b":authority", random.choice((HOST,) * 8 + (HOST + b":80", b"me@" + HOST, HOST + b"/x", HOST + b"\r\nX: y", b""))),
        (b":path", random.choice(H2_PATHS)),
    ]
    if random.random() < 0.06:
        pseudo.remove(random.choice(pseudo))
    if random.random() < 0.06:
        pseudo.append(random.choice(pseudo))
    fields = random.sample(H2_FIELDS, random.choice((0, 0, 1, 1, 2, 3)))
    return pseudo + fields, random.choice((None, None, b"", b"abc", SMUGGLED, b"0\r\n\r\n" + SMUGGLED))
