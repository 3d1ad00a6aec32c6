"""Bytes on a connection that two readers could take for different requests, or for none.

RFC 9112 §2.2, §3.2, §5.1, §6.1, §6.3, §7.1 and §11.2: one refusal, and the connection ends.
"""

from typing import Final


def request(*lines: bytes, first: bytes = b"POST /builds HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([first, b"Host: builds", *lines, b"", b""]) + body


GET: Final = b"GET /healthz HTTP/1.1"
#: What a smuggler wants to have read as a request of its own.
SECOND: Final = b"GET /openapi.json HTTP/1.1\r\nHost: builds\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked"
END: Final = b"0\r\n\r\n"

NO_HTTP: Final[dict[str, bytes]] = {
    "length, then chunks": request(b"Content-Length: 4", CHUNKED, body=END + SECOND),
    "chunks, then length": request(CHUNKED, b"Content-Length: 48", body=END + SECOND),
    "chunks and a length of zero": request(CHUNKED, b"Content-Length: 0", body=END + SECOND),
    "two codings in two headers": request(CHUNKED, b"Transfer-Encoding: identity", body=END),
    "chunks twice": request(CHUNKED, CHUNKED, body=END),
    "chunks, then another coding": request(b"Transfer-Encoding: chunked, identity", body=END),
    "another coding, then chunks": request(b"Transfer-Encoding: gzip, chunked", body=END),
    "the coding identity": request(b"Transfer-Encoding: identity", body=END),
    "a coding that nobody knows": request(b"Transfer-Encoding: xchunked", body=END),
    "the coding in quotes": request(b'Transfer-Encoding: "chunked"', body=END),
    "the coding after a vertical tab": request(b"Transfer-Encoding:\x0bchunked", body=END),
    "the coding with a space before its colon": request(b"Transfer-Encoding : chunked", body=END),
    "the coding folded": request(b"Transfer-Encoding:", b" chunked", body=END),
    "chunks in HTTP/1.0": request(CHUNKED, first=b"POST /builds HTTP/1.0", body=END),
    "two lengths": request(b"Content-Length: 4", b"Content-Length: 5", body=b"aaaaa"),
    "two lengths alike": request(b"Content-Length: 4", b"Content-Length: 4", body=b"aaaa"),
    "a list of lengths": request(b"Content-Length: 4, 4", body=b"aaaa"),
    "a length below zero": request(b"Content-Length: -4", body=b"aaaa"),
    "a length with a plus": request(b"Content-Length: +4", body=b"aaaa"),
    "a length in hexadecimal": request(b"Content-Length: 0x4", body=b"aaaa"),
    "a length of 23 digits": request(b"Content-Length: " + b"9" * 23, body=b"aaaa"),
    "a length of nothing": request(b"Content-Length:", body=b"aaaa"),
    "a length in words": request(b"Content-Length: four", body=b"aaaa"),
    "a chunk beyond 64 bits": request(CHUNKED, body=b"F" * 17 + b"\r\na\r\n" + END),
    "a chunk below zero": request(CHUNKED, body=b"-1\r\na\r\n" + END),
    "a chunk in C's hexadecimal": request(CHUNKED, body=b"0x1\r\na\r\n" + END),
    "a chunk longer than it says": request(CHUNKED, body=b"1\r\nabc\r\n" + END),
    "chunks with bare line feeds": request(CHUNKED, body=b"1\na\n0\n\n"),
    "a chunk with a bare CR in its extension": request(CHUNKED, body=b"1;a\rb\r\na\r\n" + END),
    "a length in the trailer": request(CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\n"),
    "a space before a colon": request(b"X-A : b", first=GET),
    "a folded header": request(b"X-A: b", b" c", first=GET),
    "a folded first line": GET + b"\r\n Host: builds\r\n\r\n",
    "bare line feeds": request(first=GET).replace(b"\r\n", b"\n"),
    "a bare CR in a header": request(b"X-A: b\rX-B: c", first=GET),
    "a NUL in a header": request(b"X-A: b\0c", first=GET),
    "a NUL in a name": request(b"X-\0A: b", first=GET),
    "a NUL in the token": request(b"Authorization: Bearer a.b.c\0", first=GET),
    "a header without colon": request(b"Rubbish", first=GET),
    "a header without name": request(b": b", first=GET),
    "a name with a quote": request(b'"X": b', first=GET),
    "no host": GET + b"\r\n\r\n",
    "two hosts": request(b"Host: evil", first=GET),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": request(first=b"GET /healthz HTTP/2.0"),
    "HTTP/9.9": request(first=b"GET /healthz HTTP/9.9"),
    "HTTP in lower case": request(first=b"GET /healthz http/1.1"),
    "a method in lower case": request(first=b"get /healthz HTTP/1.1"),
    "a method that is none": request(first=b"FROBNICATE /healthz HTTP/1.1"),
    "a tunnel": request(first=b"CONNECT evil.example.com:443 HTTP/1.1"),
    "a path without its slash": request(first=b"GET healthz HTTP/1.1"),
    "a path in Latin-1": request(first=b"GET /\xe9 HTTP/1.1"),
    "a path with a NUL": request(first=b"GET /\0 HTTP/1.1"),
    "a path with a space": request(first=b"GET /a b HTTP/1.1"),
    "tabs for spaces": request(first=b"GET\t/healthz\tHTTP/1.1"),
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"x" * 40,
    "bytes of all kinds": bytes(range(256)) * 10,
    "a Redis command": b"*1\r\n$7\r\nFLUSHDB\r\n",
    "a proxy's greeting": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + request(first=GET),
}

TOO_LARGE: Final[dict[str, bytes]] = {
    "a path of 200,000 letters": request(first=b"GET /" + b"a" * 200_000 + b" HTTP/1.1"),
    "a header of 200,000 letters": request(b"X-A: " + b"a" * 200_000, first=GET),
    "a header without end": request(first=GET)[:-2] + b"X-A: " + b"a" * 400_000,
    "20,000 headers": request(*[b"X-%d: a" % n for n in range(20_000)], first=GET),
    "empty lines without end": b"\r\n" * 100_000,
}

#: Of a request that may have had its answer before all of this has arrived.
ENDLESS_FRAMING: Final[dict[str, bytes]] = {
    "an extension of a chunk": request(CHUNKED, body=b"1;" + b"a" * 400_000),
    "a trailer": request(CHUNKED, body=b"0\r\nX-A: " + b"a" * 400_000),
    "trailers": request(CHUNKED, body=b"0\r\n" + b"X-A: a\r\n" * 40_000),
}
