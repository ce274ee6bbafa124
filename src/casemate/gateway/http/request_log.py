"""The log and the counts of requests. No token, body, query or path is logged, only the route's template."""

import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

from casemate.gateway.http.problems import STATUS, Trouble
from casemate.process.log_file import RotatingFile
from casemate.wire.protocol.access_tokens import AccessToken

LOG_SIZE = 8 * 1024 * 1024
"""Longest log file (bytes). One older file is kept."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""Upper bounds of the latency histogram (seconds)."""
_NO_ROUTE = "none"
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Any other word would be a new line of figures."""
_COMPACT = json.JSONEncoder(separators=(",", ":"), default=repr)


class Metrics:
    """The gateway's figures for Prometheus."""

    media_type = "text/plain"
    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "casemate_gateway_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "casemate_gateway_request_seconds",
            "Time from a request's head to the end of its answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.malformed = Counter("casemate_gateway_malformed", "Requests that were no HTTP", registry=self.registry)
        self.dropped = Counter("casemate_gateway_log_dropped", "Log lines without room", registry=self.registry)
        self._enclaves = Gauge("casemate_enclaves", "Enclaves by state", ("state",), registry=self.registry)
        self._children: dict[tuple[str, str, int], Any] = {}
        self._timers: dict[str, Any] = {}

    def count(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Counts one request; its time (seconds) is left out where it says nothing about the service."""
        key = (method, route, status)
        counter = self._children.get(key)
        if counter is None:
            counter = self._children[key] = self._requests.labels(method, route, str(status))
        counter.inc()
        if seconds is None:
            return
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        timer.observe(seconds)

    def text(self, enclaves: dict[str, int]) -> bytes:
        """All figures in Prometheus' text format; ``enclaves`` has the number of enclaves in each state."""
        for state, count in enclaves.items():
            self._enclaves.labels(state).set(count)
        return generate_latest(self.registry)


class RequestLog:
    """Writes one line of JSON for each request."""

    def __init__(self, path: Path) -> None:
        self._file = RotatingFile(path, LOG_SIZE)
        self.metrics = Metrics()
        self._untold: dict[str, int] = {}
        """Counts since the last line of what has no own line: rate-limited requests, and dropped lines."""

    def close(self) -> None:
        self._file.close()

    def answered(
        self, scope: Scope, *, status: int, seconds: float, token: AccessToken | None, code: str | None
    ) -> None:
        route = scope.get("route")
        shown = getattr(route, "path", _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self.metrics.count(method, shown, status, seconds)
        self._write(
            "info",
            "request",
            request_id=scope["state"]["request_id"],
            method=method,
            route=shown,
            status=status,
            code=code,
            milliseconds=round(seconds * 1000, 2),
            token=None if token is None else token.name,
            peer=scope["client"][0] if scope.get("client") else None,
        )

    def limited(self, scope: Scope) -> None:
        """Counts a request that a limit refused; the next line of the log says how many there were.

        A line for each would let a flood push all else out of the log.
        """
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self.metrics.count(method, _NO_ROUTE, STATUS[Trouble.RATE_LIMITED], None)
        self._untold["limited"] = self._untold.get("limited", 0) + 1

    def failed(self, request_id: str, error: BaseException) -> None:
        """Logs a defect with its trace."""
        self._write("error", "defect", request_id=request_id, exception="".join(traceback.format_exception(error)))

    def _write(self, level: str, event: str, **members: object) -> None:
        line = {**members, **self._untold, "event": event, "timestamp": datetime.now(UTC).isoformat(), "level": level}
        if self._file.write(_COMPACT.encode(line).encode("utf-8", "replace")):
            self._untold.clear()
        else:
            self.metrics.dropped.inc()
            self._untold["dropped"] = self._untold.get("dropped", 0) + 1
