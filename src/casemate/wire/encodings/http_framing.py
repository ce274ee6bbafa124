"""HTTP/1.1 messages, read strictly: refuses what two readers could take for different requests (RFC 9112).

h11 accepts what some older clients sent: a bare LF as the end of a line, a folded header, the same Content-Length
twice. A proxy in front may read such a request differently, and the rest of it then becomes the next request, of
another client (request smuggling). Current clients send none of these, so the gateway and the server inside an enclave
refuse them.
"""

import re

import h11
from h11._receivebuffer import ReceiveBuffer, blank_line_regex  # what splits lines has no public name
from h11._util import Sentinel

MAX_HEADERS = 128
"""Most lines of a head, or of trailers: each is checked by itself."""

MAX_CHUNK_LINE = 1024
"""Longest line before a chunk (bytes): its size, and extensions, which nobody uses."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(?:0|[1-9][0-9]{0,19})[ \t]*\r")
_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)([/?][^#]*)?", re.IGNORECASE)
_ORIGIN = re.compile(rb"/[^#]*")
_OLD = b"1.0"
_VERSIONS = (_OLD, b"1.1")

CLOSE = (b"connection", b"close")
"""The header of a request after whose answer the connection ends."""

MALFORMED = 400
TOO_LONG = 431
VERSION_REFUSED = 505


class StrictConnection(h11.Connection):
    """A server's side of a connection; :meth:`next_event` returns only requests with one meaning.

    Attributes:
        refusal: why the last event was refused, in words that repeat nothing of the input.
        status: of the answer to it.
    """

    def __init__(self, role: type[Sentinel], max_head: int) -> None:
        super().__init__(role, max_head)
        self._receive_buffer = _StrictBuffer(self, max_head)
        self.refusal = ""
        self.status = MALFORMED

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event; raises RemoteProtocolError."""
        try:
            event = super().next_event()
            return _one_meaning(event) if type(event) is h11.Request else event
        except h11.RemoteProtocolError as error:
            self.refusal = str(error).partition(":")[0][:200]
            self.status = error.error_status_hint
            raise


class _StrictBuffer(ReceiveBuffer):
    """Received bytes, from which h11 takes lines; :class:`h11.LocalProtocolError` where a line is not well-formed."""

    def __init__(self, connection: StrictConnection, most: int) -> None:
        super().__init__()
        self._most = most
        self._connection = connection
        self._skipped = False

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers, once there is an empty one after them."""
        data = self._data
        if self._connection.their_state is h11.IDLE:
            if data[:2] == b"\r\n" and not self._skipped:  # section 2.2: at least one is ignored before a request
                self._extract(2)
                self._skipped = True
        elif data[:2] == b"\r\n":
            self._extract(2)
            return []  # no trailers
        end = blank_line_regex.search(data, self._multiple_lines_search)
        if end is None:
            self._multiple_lines_search = max(0, len(data) - 2)
            return None
        if end.end() > self._most:  # h11 looks at the length of what is not complete, alone
            raise h11.LocalProtocolError(f"the head is longer than {self._most} bytes", TOO_LONG)
        self._skipped = False
        block = bytes(self._extract(end.end()))
        _check_lines(block)
        return [bytearray(line) for line in block[:-4].split(b"\r\n")]

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk, once it has ended."""
        end = self._data.find(b"\n", max(0, self._next_line_search - 1))
        if end < 0 and len(self._data) <= MAX_CHUNK_LINE:
            self._next_line_search = len(self._data)
            return None
        if not 0 <= end < MAX_CHUNK_LINE:
            raise h11.LocalProtocolError(f"the line before a chunk is longer than {MAX_CHUNK_LINE} bytes")
        line = self._extract(end + 1)
        if not _CHUNK_LINE.fullmatch(line):
            raise h11.LocalProtocolError("the line before a chunk is not its size in hexadecimal, then CR LF")
        return line


def _check_lines(block: bytes) -> None:
    lines = block.count(b"\r\n")
    if lines != block.count(b"\n") or lines != block.count(b"\r"):
        raise h11.LocalProtocolError("a line does not end in CR LF")
    if _CONTROL.search(block):
        raise h11.LocalProtocolError("a control character in the head")
    if b"\n " in block or b"\n\t" in block:
        raise h11.LocalProtocolError("a header is folded, or begins with a space")
    if lines > MAX_HEADERS + 2:  # the request line, and the empty one
        raise h11.LocalProtocolError(f"more than {MAX_HEADERS} headers", TOO_LONG)
    lower = block.lower()
    if (lengths := lower.count(b"\ncontent-length:")) and (lengths > 1 or not _LENGTH.search(lower)):
        raise h11.LocalProtocolError("Content-Length is not one decimal number, given once")


def _one_meaning(request: h11.Request) -> h11.Request:
    """The request, its target in origin form.

    Where the target names a host, that host counts (RFC 9112, section 3.2.2). Content-Length beside Transfer-Encoding
    is passed over, and the connection closes after the answer (section 6.1): the request has :data:`CLOSE`.
    """
    version, target = request.http_version, request.target
    if version not in _VERSIONS:
        raise h11.RemoteProtocolError("the version of HTTP is not 1.0 or 1.1", VERSION_REFUSED)
    names = [name for name, _ in request.headers]
    chunked, measured = b"transfer-encoding" in names, b"content-length" in names
    if chunked and version == _OLD:
        raise h11.RemoteProtocolError("Transfer-Encoding in a request of HTTP/1.0")
    plain = _ORIGIN.fullmatch(target) is not None or (target == b"*" and request.method == b"OPTIONS")
    if plain and not (chunked and measured):
        return request
    headers = [*request.headers]
    if not plain:
        named = _ABSOLUTE.fullmatch(target)
        if named is None:
            raise h11.RemoteProtocolError("the target is neither a path nor a URL of http or https")
        rest = named[2] or b"/"
        target = rest if rest.startswith(b"/") else b"/" + rest
        headers = [(b"host", named[1]), *((name, value) for name, value in headers if name != b"host")]
    if chunked and measured:
        headers = [*((name, value) for name, value in headers if name != b"content-length"), CLOSE]
    return h11.Request(method=request.method, headers=headers, target=target, http_version=version)
