"""The enclave's own HTTP: requests that two readers could take for different ones are refused, or are the last.

A new case is one line of :data:`CASES`. Each is followed by a request that would be somebody else's behind a proxy.
"""

from dataclasses import dataclass

import pytest

from casemate.enclave.tls.http import MAX_HEAD, HttpConversation, RequestRefusedError, Response
from casemate.wire.encodings.http_framing import MAX_CHUNK_LINE, MAX_HEADERS

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /entry/f HTTP/1.1\r\nHost: x\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNKED = POST + CODING
HEADERS = b"Host: x\r\n" + b"a: b\r\n" * (MAX_HEADERS - 1)
CHUNKS = b"1\r\n1\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One request."""

    name: str
    sent: bytes
    refusal: tuple[int, str] | None = None
    """The status, and how its words go on."""
    path: str = "/entry/f"
    body: bytes = b"1"
    stays: bool = True
    """The next request is answered too."""


def get(target: bytes, *, version: bytes = b"1.1", headers: bytes = b"Host: x\r\n") -> bytes:
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + headers + b"\r\n"


def with_length(lines: bytes) -> bytes:
    return POST + lines + b"\r\n\r\n1"


def refused(name: str, sent: bytes, words: str = "", status: int = 400) -> Case:
    return Case(name, sent, (status, words))


LENGTH = "Content-Length is not one decimal number, given once"
ENDING = "a line does not end in CR LF"
FOLDED = "a header is folded, or begins with a space"
VERSION = "the version of HTTP is not 1.0 or 1.1"
SIZE = "the line before a chunk is not its size in hexadecimal, then CR LF"
TARGET = "the target is neither a path nor a URL of http or https"

CASES = [
    Case("a length", with_length(b"Content-Length: 1")),
    Case("chunks", CHUNKED + b"\r\n" + CHUNKS),
    Case("chunks with an extension", CHUNKED + b"\r\n1;a=b\r\n1\r\n0\r\n\r\n"),
    Case("a length in the trailers", CHUNKED + b"\r\n1\r\n1\r\n0\r\nContent-Length: 5\r\n\r\n"),
    Case("an empty line before it", b"\r\n" + with_length(b"Content-Length: 1")),
    Case("as many headers as may be", get(b"/", headers=HEADERS), None, "/", b""),
    # Both at once, and what a proxy of HTTP/1.0 would pass on (RFC 9112, section 6.1)
    Case("a length beside chunks", CHUNKED + b"Content-Length: 1\r\n\r\n" + CHUNKS, stays=False),
    Case("a length before chunks", POST + b"Content-Length: 4\r\n" + CODING + b"\r\n" + CHUNKS, stays=False),
    refused("a bad length beside chunks", CHUNKED + b"Content-Length: 01\r\n\r\n" + CHUNKS, LENGTH),
    refused("chunks of 1.0", CHUNKED.replace(b"1.1", b"1.0") + b"\r\n" + CHUNKS, "Transfer-Encoding in a request of"),
    refused("chunks twice", CHUNKED + CODING + b"\r\n" + CHUNKS, status=501),
    refused("identity", POST + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\n1", status=501),
    # Content-Length (section 6.2)
    refused("the same length twice", with_length(b"Content-Length: 1\r\nContent-Length: 1"), LENGTH),
    refused("two lengths", with_length(b"Content-Length: 1\r\ncontent-length: 2"), LENGTH),
    *(
        refused(f"length {length!r}", with_length(b"Content-Length: " + length), LENGTH)
        for length in (b"1, 1", b"1,1", b"01", b"00", b"+1", b"-1", b"0x1", b"1_0", b"1.0", b"1 1", b"\xb2", b"")
    ),
    refused("a space before the colon", with_length(b"Content-Length : 1")),
    # Lines (sections 2.2 and 5.2)
    refused("bare LF all over", with_length(b"Content-Length: 1").replace(b"\r\n", b"\n"), ENDING),
    refused("one bare LF", with_length(b"X-A: b\nContent-Length: 1"), ENDING),
    refused("a bare LF at the end", POST + b"Content-Length: 1\r\n\n1", ENDING),
    refused("a bare CR", with_length(b"X-A: b\rX-B: c\r\nContent-Length: 1"), ENDING),
    refused("a folded header", with_length(b"X-A: b\r\n c\r\nContent-Length: 1"), FOLDED),
    refused("folded by a tab", with_length(b"X-A: b\r\n\tc\r\nContent-Length: 1"), FOLDED),
    refused("a folded coding", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS, FOLDED),
    refused("a folded length", with_length(b"Content-Length:\r\n 1"), FOLDED),
    refused("a NUL", with_length(b"X-A: \0\r\nContent-Length: 1"), "a control character in the head"),
    refused("two empty lines before it", b"\r\n\r\n" + with_length(b"Content-Length: 1")),
    refused("too many headers", get(b"/", headers=HEADERS + b"a: b\r\n"), "more than", 431),
    refused("a thousand headers", with_length(b"a: b\r\n" * 1000 + b"Content-Length: 1"), "more than", 431),
    refused("too long a header", get(b"/", headers=b"Host: x\r\na: " + b"b" * MAX_HEAD + b"\r\n"), "the head is", 431),
    refused("Host twice", get(b"/", headers=b"Host: x\r\nHost: y\r\n")),
    # Chunks (section 7.1)
    refused("a chunk's size ends in LF", CHUNKED + b"\r\n1\n1\r\n0\r\n\r\n", SIZE),
    refused("an extension ends in LF", CHUNKED + b"\r\n1;a\n1\r\n0\r\n\r\n", SIZE),
    refused("a space after a chunk's size", CHUNKED + b"\r\n1 \r\n1\r\n0\r\n\r\n", SIZE),
    refused("a chunk ends in LF", CHUNKED + b"\r\n1\r\n1\n0\r\n\r\n"),
    refused("an extension without end", CHUNKED + b"\r\n1;" + b"a" * 2 * MAX_CHUNK_LINE, "the line before a chunk is"),
    refused("a trailer ends in LF", CHUNKED + b"\r\n1\r\n1\r\n0\r\nX-A: b\n\r\n", ENDING),
    # The request line (section 3)
    *(
        refused(f"HTTP/{version.decode()}", get(b"/", version=version), VERSION, 505)
        for version in (b"0.9", b"1.2", b"1.9", b"2.0", b"9.9")
    ),
    refused("HTTP/1.2 without Host", get(b"/", version=b"1.2", headers=b""), VERSION, 505),
    refused("HTTP/1.10", get(b"/", version=b"1.10")),
    Case("HTTP/1.0", get(b"/", version=b"1.0"), None, "/", b"", stays=False),
    Case("absolute form", get(b"http://x/a?b"), None, "/a", b""),
    Case("absolute form, no path", get(b"http://x"), None, "/", b""),
    refused("with a user", get(b"http://a@evil/entry/f"), TARGET),
    refused("a path without a slash", get(b"entry/f"), TARGET),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_has_one_meaning_or_is_refused(case: Case) -> None:
    http = HttpConversation()
    http.take(case.sent + NEXT)
    if case.refusal is not None:
        with pytest.raises(RequestRefusedError) as error:
            http.next_request()
        status, words = case.refusal
        assert error.value.status == status
        assert error.value.words.startswith(f"no HTTP/1.1 request: {words}")
        answer = http.respond(Response(status, "text/plain", b""))
    else:
        asked = http.next_request()
        assert asked is not None
        assert not isinstance(asked, bytes)
        assert (asked.path, asked.body) == (case.path, case.body)
        answer = http.respond(Response(200, "text/plain", b""))
    stays = case.stays and case.refusal is None
    assert (b"\r\nconnection: close\r\n" in answer.lower()) is not stays
    after = http.next_request() if not http.must_end else None
    assert (getattr(after, "path", None) == "/next") is stays
    assert http.must_end is not stays


@pytest.mark.parametrize("sent", [CHUNKED + b"\r\n" + CHUNKS, with_length(b"Content-Length: 1")])
def test_every_split_of_a_request_means_the_same(sent: bytes) -> None:
    for cut in range(1, len(sent)):
        http = HttpConversation()
        http.take(sent[:cut])
        assert http.next_request() is None
        http.take(sent[cut:])
        asked = http.next_request()
        assert asked is not None
        assert not isinstance(asked, bytes)
        assert (asked.path, asked.body) == ("/entry/f", b"1")


def test_a_refusal_repeats_nothing_of_what_came() -> None:
    http = HttpConversation()
    http.take(b"GET / HTTP/1.1\r\nsecret\r\n\r\n")
    with pytest.raises(RequestRefusedError) as error:
        http.next_request()
    assert "secret" not in error.value.words
