"""The Host header: refuses pages whose DNS name was rebound to this computer, since they send their own name."""

import re

from casemate.gateway.http.problems import ProblemError, Trouble

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:@/\[\]]+)(?::(0|[1-9][0-9]{0,4}))?")
_MAX_PORT = 65535


def check_host(headers: list[tuple[bytes, bytes]], allowed: frozenset[str]) -> None:
    """Refuses a request whose Host header does not name this machine (RFC 9110, section 15.5.20)."""
    given = [value for name, value in headers if name == b"host"]
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or int(found[2] or b"0") > _MAX_PORT or found[1].decode("latin-1").lower() not in allowed:
        said = given[0][:80].decode("latin-1") if given else "missing"
        detail = f"Host is {said!r}, this gateway answers to {', '.join(sorted(allowed))}; --allow-host adds a name"
        raise ProblemError(Trouble.HOST_REFUSED, detail)


def host_name(url: str) -> frozenset[str]:
    """The host part of a URL as Host headers have it, in a set; the empty set if there is none."""
    found = _HOST.match(url.partition("://")[2].encode())
    return frozenset() if found is None else frozenset({found[1].decode().lower()})
