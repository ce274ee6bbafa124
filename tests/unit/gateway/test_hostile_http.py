"""Requests that two readers could take for different ones, over raw sockets, against one gateway.

A new case is one line of :data:`CASES`: what is sent, with which status (and code) it is answered, and whether the
connection may be used again. After every case somebody else is served.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.rigs.gateway.front import TOKENS, close_all, front
from tests.rigs.gateway.serving import Serving

from casemate.gateway.http.rate_limits import Rate
from casemate.gateway.http.settings import Settings
from casemate.wire.encodings.http_framing import MAX_CHUNK_LINE, MAX_HEADERS
from casemate.wire.protocol.access_tokens import Role

TIMEOUT = 10.0
HOST = b"Host: localhost\r\n"
TOKEN = f"Authorization: Bearer {TOKENS[Role.CALL]}\r\n".encode()
CHUNKED = b"POST /enclave/compute HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST + TOKEN
BODY = b'{"function": "primes", "input": 1}'


@dataclass(frozen=True)
class Case:
    """One request."""

    name: str
    sent: bytes
    status: int
    code: str = ""
    """Of the problem document; empty where the answer is good."""
    stays: bool = False
    """The connection takes another request."""


def get(line: bytes, headers: bytes = HOST) -> bytes:
    return line + b"\r\n" + headers + b"\r\n"


def health(*headers: bytes) -> bytes:
    return get(b"GET /health HTTP/1.1", HOST + b"".join(header + b"\r\n" for header in headers))


def in_chunks(chunks: bytes, *headers: bytes) -> bytes:
    more = b"".join(header + b"\r\n" for header in headers)
    return CHUNKED + b"Transfer-Encoding: chunked\r\n" + more + b"\r\n" + chunks


def with_length(length: bytes, body: bytes = b"") -> bytes:
    return CHUNKED + length + b"\r\n\r\n" + body


def refused(name: str, sent: bytes) -> Case:
    return Case(name, sent, 400, "malformed")


GOOD_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
NUMBER = [
    (b"+1", "plus"),
    (b"-1", "minus"),
    (b"%201", "space before"),
    (b"1%20", "space after"),
    (b"1%0a", "line end after"),
    (b"1_0", "underscore"),
    (b"01", "leading zero"),
    (b"00", "two zeros"),
    (b"1.0", "fraction"),
    (b"1e0", "exponent"),
    (b"0x1", "hexadecimal"),
    (b"%EF%BC%91", "fullwidth digit"),
    (b"%D9%A1", "Arabic digit"),
    (b"%C2%B2", "superscript"),
    (b"%2B1", "plus, quoted"),
    (b"9007199254740992", "beyond 2^53"),
    (b"9" * 4000, "thousands of digits"),
    (b"true", "a word"),
    (b"", "nothing"),
]
PATHS = (
    b"/v1/enclaves/%b",
    b"/v1/enclaves/%b/evidence?nonce=" + b"ab" * 32,
    b"/v1/vms/%b",
    b"/v1/vms/1/console?start=%b",
)
CODINGS = (b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b"xchunked", b'"chunked"')
SIZES = (b"zz", b"", b" 22", b"22 ", b"0x22", b"+22", b"-22", b"2_2", b"22;\0", b"22;\r", b"1" * 16, b"22,22")

CASES = [
    Case("a good request", health(), 200, stays=True),
    Case("an empty line before it", b"\r\n" + health(), 200, stays=True),
    refused("two empty lines before it", b"\r\n\r\n" + health()),
    # The request line (RFC 9112, section 3)
    refused("no version", get(b"GET /health")),
    refused("two spaces", get(b"GET  /health HTTP/1.1")),
    refused("a tab", get(b"GET\t/health HTTP/1.1")),
    refused("a space at the end", get(b"GET /health HTTP/1.1 ")),
    refused("a space in the path", get(b"GET /heal th HTTP/1.1")),
    refused("a NUL in the path", get(b"GET /health\0 HTTP/1.1")),
    refused("bytes beyond ASCII in the path", get("GET /hëalth HTTP/1.1".encode())),
    refused("a fragment", get(b"GET /health#x HTTP/1.1")),
    refused("a path without a slash", get(b"GET health HTTP/1.1")),
    refused("an asterisk of a GET", get(b"GET * HTTP/1.1")),
    refused("an authority", get(b"CONNECT localhost:80 HTTP/1.1")),
    refused("lower case", get(b"GET /health http/1.1")),
    refused("a brace in the method", get(b"G{T /health HTTP/1.1")),
    Case("9.9", get(b"GET /health HTTP/9.9"), 505, "version-refused"),
    Case("2.0", get(b"GET /health HTTP/2.0"), 505, "version-refused"),
    Case("2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-refused"),
    Case("0.9", get(b"GET /health HTTP/0.9"), 505, "version-refused"),
    refused("1.10", get(b"GET /health HTTP/1.10")),
    Case("1.2", get(b"GET /health HTTP/1.2"), 505, "version-refused"),
    Case("1.9", get(b"GET /health HTTP/1.9"), 505, "version-refused"),
    Case("1.2 without Host", get(b"GET /health HTTP/1.2", b""), 505, "version-refused"),
    Case("1.0", get(b"GET /health HTTP/1.0"), 200),
    # Absolute form, and whom it names (section 3.2)
    Case("absolute form", get(b"GET http://127.0.0.1:8800/health HTTP/1.1"), 200, stays=True),
    Case("absolute form, no path", get(b"GET http://localhost HTTP/1.1"), 307, stays=True),
    Case("absolute form, upper case", get(b"GET HTTP://LOCALHOST/health HTTP/1.1"), 200, stays=True),
    Case(
        "its authority counts", get(b"GET http://localhost/health HTTP/1.1", b"Host: evil.example\r\n"), 200, stays=True
    ),
    Case("and is checked", get(b"GET http://evil.example/health HTTP/1.1"), 421, "host-refused", stays=True),
    Case("also its port", get(b"GET http://localhost:x/health HTTP/1.1"), 421, "host-refused", stays=True),
    Case("and its range", get(b"GET http://localhost:65536/health HTTP/1.1"), 421, "host-refused", stays=True),
    Case(
        "a port of zeros", get(b"GET /health HTTP/1.1", b"Host: localhost:00080\r\n"), 421, "host-refused", stays=True
    ),
    refused("with a user", get(b"GET http://localhost@evil.example/health HTTP/1.1")),
    refused("of another scheme", get(b"GET ftp://localhost/health HTTP/1.1")),
    refused("without authority", get(b"GET http:///health HTTP/1.1")),
    refused("but no Host", get(b"GET http://localhost/health HTTP/1.1", b"")),
    # Headers (section 5)
    refused("no Host", get(b"GET /health HTTP/1.1", b"")),
    refused("two Hosts", health(b"Host: localhost")),
    Case("Host of somebody else", get(b"GET /health HTTP/1.1", b"Host: evil\r\n"), 421, "host-refused", stays=True),
    Case("no Host in 1.0", get(b"GET /health HTTP/1.0", b""), 421, "host-refused"),
    refused("bare LF all over", b"GET /health HTTP/1.1\nHost: localhost\n\n"),
    refused("one bare LF", b"GET /health HTTP/1.1\r\nX-A: b\nHost: localhost\r\n\r\n"),
    refused("a bare LF at the end", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\n"),
    refused("a bare CR", health(b"X-A: b\rX-B: c")),
    refused("a folded header", health(b"X-A: b", b" c")),
    refused("folded by a tab", health(b"X-A: b", b"\tc")),
    refused("a space before the first", get(b"GET /health HTTP/1.1", b" X-A: b\r\n" + HOST)),
    refused("a space before the colon", health(b"X-A : b")),
    refused("no colon", health(b"X-A")),
    refused("no name", health(b": b")),
    refused("a NUL in a value", health(b"X-A: b\0c")),
    refused("an escape in a value", health(b"X-A: \x1b[31m")),
    refused("a delete in a value", health(b"X-A: \x7f")),
    refused("a NUL in a name", health(b"X\0A: b")),
    refused("too many", health(*([b"X-A: b"] * MAX_HEADERS))),
    Case("as many as may be", health(*([b"X-A: b"] * (MAX_HEADERS - 1))), 200, stays=True),
    refused("too long", health(b"X-A: " + b"b" * 40_000)),
    # Content-Length (section 6.2)
    Case("the right length", with_length(b"Content-Length: %d" % len(BODY), BODY), 200, stays=True),
    refused("the same length twice", with_length(b"Content-Length: 34\r\nContent-Length: 34", BODY)),
    refused("two lengths", with_length(b"Content-Length: 34\r\ncontent-length: 5", BODY)),
    refused("a list of one length", with_length(b"Content-Length: 34, 34", BODY)),
    refused("a plus", with_length(b"Content-Length: +34", BODY)),
    refused("a minus", with_length(b"Content-Length: -34", BODY)),
    refused("an underscore", with_length(b"Content-Length: 3_4", BODY)),
    refused("a leading zero", with_length(b"Content-Length: 034", BODY)),
    refused("hexadecimal", with_length(b"Content-Length: 0x22", BODY)),
    refused("a fraction", with_length(b"Content-Length: 34.0", BODY)),
    refused("no length", with_length(b"Content-Length:", BODY)),
    refused("digits of others", with_length("Content-Length: \uff13\uff14".encode(), BODY)),
    refused("beyond all numbers", with_length(b"Content-Length: " + b"9" * 40)),
    refused("a space before its colon", with_length(b"Content-Length : 34", BODY)),
    # Transfer-Encoding (sections 6.1 and 7.1)
    Case("chunks", in_chunks(GOOD_CHUNKS), 200, stays=True),
    Case("chunks, extended", in_chunks(GOOD_CHUNKS.replace(b"22\r\n", b"22;a=b\r\n")), 200, stays=True),
    Case("chunks with trailers", in_chunks(GOOD_CHUNKS[:-2] + b"X-Trailer: a\r\n\r\n"), 200, stays=True),
    Case("a length beside chunks closes", in_chunks(GOOD_CHUNKS, b"Content-Length: 3"), 200),
    refused("a bad length beside chunks", in_chunks(GOOD_CHUNKS, b"Content-Length: +3")),
    refused("chunks twice", in_chunks(GOOD_CHUNKS, b"Transfer-Encoding: chunked")),
    refused("chunks of 1.0", in_chunks(GOOD_CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0")),
    *(
        refused(f"coding {coding!r}", in_chunks(GOOD_CHUNKS).replace(b": chunked", b": " + coding))
        for coding in CODINGS
    ),
    refused("no coding", in_chunks(GOOD_CHUNKS).replace(b": chunked", b":")),
    refused("a coding after a vertical tab", in_chunks(GOOD_CHUNKS).replace(b": chunked", b": \x0bchunked")),
    *(
        refused(f"chunk size {size!r}", in_chunks(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"))
        for size in (
            b"zz",
            b"",
            b" 22",
            b"22 ",
            b"0x22",
            b"+22",
            b"-22",
            b"2_2",
            b"22;\0",
            b"22;\r",
            b"1" * 16,
            b"22,22",
        )
    ),
    refused("a chunk's size ends in LF", in_chunks(b"22\n" + BODY + b"\r\n0\r\n\r\n")),
    refused("a chunk ends in LF", in_chunks(b"22\r\n" + BODY + b"\n0\r\n\r\n")),
    refused("a chunk is longer than its size", in_chunks(b"21\r\n" + BODY + b"\r\n0\r\n\r\n")),
    refused("an extension without end", in_chunks(b"22;" + b"a" * 2 * MAX_CHUNK_LINE)),
    refused("a trailer without colon", in_chunks(GOOD_CHUNKS[:-2] + b"X-Trailer\r\n\r\n")),
    refused("a trailer ends in LF", in_chunks(GOOD_CHUNKS[:-2] + b"X-Trailer: a\n\r\n")),
    # What is no HTTP
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
    refused("zeros", bytes(1000)),
    refused("a word", b"hello\r\n\r\n"),
    refused("a long line", b"A" * 100_000),
    # Methods, and an Upgrade that is not made
    Case("HEAD", get(b"HEAD /health HTTP/1.1"), 200, stays=True),
    Case("HEAD of a refusal", get(b"HEAD /nowhere HTTP/1.1", HOST + TOKEN), 404, stays=True),
    Case("HEAD of events", get(b"HEAD /v1/events HTTP/1.1", HOST + TOKEN), 200, stays=True),
    Case("a method of one's own", get(b"BREW /health HTTP/1.1"), 405, "method-refused", stays=True),
    Case("OPTIONS of all", get(b"OPTIONS * HTTP/1.1", HOST + TOKEN), 404, "not-found", stays=True),
    Case(
        "a WebSocket",
        health(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: eA=="),
        200,
        stays=True,
    ),
    *(
        Case(
            f"{path.partition(b'%')[0].decode()}: {what}", get(b"GET " + path % number + b" HTTP/1.1", HOST + TOKEN), 0
        )
        for path in PATHS
        for number, what in NUMBER
    ),
    Case(
        "a parameter twice",
        get(b"GET /v1/vms/1/console?start=0&start=1 HTTP/1.1", HOST + TOKEN),
        422,
        "request-refused",
        stays=True,
    ),
]


@pytest.fixture(autouse=True)
def _closed() -> None:
    """Not after each test: there is one gateway for all."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway that serves in a thread of its own, and refuses nobody for asking often."""
    many = Rate(100_000, 100_000)
    gateway = front(tmp_path_factory.mktemp("gateway"), Settings(stranger_rate=many, open_rate=many))
    ready, done = threading.Event(), asyncio.Event()
    found: list[int] = []
    loop = asyncio.new_event_loop()

    async def work() -> None:
        async with Serving(gateway) as serving:
            found.append(serving.port)
            ready.set()
            await done.wait()

    serving = threading.Thread(target=lambda: loop.run_until_complete(work()))
    serving.start()
    assert ready.wait(TIMEOUT)
    yield found[0]
    loop.call_soon_threadsafe(done.set)
    serving.join()
    loop.close()
    close_all()


def answer_of(connection: socket.socket, *, is_head: bool) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of one answer."""
    file = connection.makefile("rb")
    status = int(file.readline().split()[1])
    headers: dict[bytes, bytes] = {}
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    body = b"" if is_head else file.read(int(headers.get(b"content-length", b"0")))
    return status, headers, body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_has_one_meaning_or_is_refused(port: int, case: Case) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(case.sent)
        status, headers, body = answer_of(connection, is_head=case.sent.startswith(b"HEAD"))
        if case.status == 0:  # a number: no such path, or no such number
            assert (status, json.loads(body)["code"]) in ((422, "request-refused"), (404, "not-found"))
        else:
            assert status == case.status, body
            assert (json.loads(body)["code"] if case.code else "") == case.code
        if case.code:
            assert headers[b"content-type"] == b"application/problem+json"
        if case.stays:
            connection.sendall(health())
            assert answer_of(connection, is_head=False)[0] == 200
        elif case.status:
            assert headers[b"connection"] == b"close"
            with contextlib.suppress(ConnectionError):
                connection.sendall(health())  # the next request is nobody's
                assert b"HTTP/1.1" not in connection.makefile("rb").read()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as other:
        other.sendall(health())
        assert answer_of(other, is_head=False)[0] == 200


def test_every_split_of_a_request_means_the_same(port: int) -> None:
    """A request that comes in two segments, cut anywhere, is the same request."""
    sent = in_chunks(GOOD_CHUNKS)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(sent), 3):
            connection.sendall(sent[:cut])
            connection.sendall(sent[cut:])
            assert answer_of(connection, is_head=False)[0] == 200


def test_a_head_in_absolute_form_has_the_headers_of_a_get_and_no_body(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(get(b"GET /v1/enclaves HTTP/1.1", HOST + TOKEN))
        _, whole, body = answer_of(connection, is_head=False)
        connection.sendall(get(b"HEAD http://localhost/v1/enclaves HTTP/1.1", HOST + TOKEN))
        _, head, _ = answer_of(connection, is_head=True)
        assert head[b"content-length"] == whole[b"content-length"] == b"%d" % len(body)
        assert sorted(head) == sorted(whole)


def test_none_of_it_is_a_defect(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """What was sent first over a connection once ended in a traceback; a WebSocket, in advice to install something."""
    for case in CASES[:160]:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
            connection.sendall(case.sent)
            assert answer_of(connection, is_head=case.sent.startswith(b"HEAD"))[0]
    assert not caplog.records
