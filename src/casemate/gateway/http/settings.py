"""The gateway's settings: host names, origins and limits."""

from dataclasses import dataclass

from casemate.gateway.http.rate_limits import Rate

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Host headers that are this computer's own, whatever DNS says."""


_TOKEN_RATE = Rate(2_500, 5_000)
_STRANGER_RATE = Rate(20, 100)


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once, when the process starts."""

    hosts: frozenset[str] = LOOPBACK_NAMES
    """Names that a Host header may have, lower-case, without port; IPv6 in brackets."""
    origins: frozenset[str] = frozenset()
    """Pages that browsers may call from, such as ``https://dash.example:8443``; none unless the operator names them."""
    token_rate: Rate = _TOKEN_RATE
    """Limit for each token. It is above what a machine can serve, so it stops only clients out of control."""
    stranger_rate: Rate = _STRANGER_RATE
    """Limit for each peer's requests that lack a valid token, or that name another machine's host."""
    open_rate: Rate = _STRANGER_RATE
    """Limit for each peer's requests that need no token and have none."""
    long_at_once: int = 8
    """Most of them under way for one peer, where the answer is long; four times as many for all."""
    requests_at_once: int = 512
    """Most requests under way together; each may hold a body of the largest size."""
    token_requests_at_once: int = 256
    """Most requests under way for one token."""
    subscribers: int = 64
    """Most readers of /v1/events together, and of consoles; a quarter of them for one token."""
    connections: int = 1024
    """Most connections: the one that has waited longest without a request makes room for the next."""
