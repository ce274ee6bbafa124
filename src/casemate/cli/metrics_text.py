"""What a call used as text for people and as JSON."""

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from casemate.wire.protocol.call import CallMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

_UNTOLD = "not told by that operating system"


def metrics_document(metrics: CallMetrics) -> dict[str, object]:
    """What a call used as JSON; null where the enclave's operating system did not tell."""
    return asdict(metrics)


def metrics_facts(metrics: CallMetrics) -> list[tuple[str, str]]:
    """What a call used as rows for a person."""
    return [
        ("time", f"{metrics.wall_us / 1000:.1f} ms in the guest, {'a new one' if metrics.cold else 'used before'}"),
        ("cpu", _UNTOLD if metrics.cpu_us is None else f"{metrics.cpu_us / 1000:.1f} ms"),
        ("memory", _UNTOLD if metrics.peak_kib is None else f"{metrics.peak_kib / 1024:.1f} MiB at most"),
        ("out", f"{metrics.bytes_out} bytes"),
        ("OCALLs", str(metrics.ocalls)),
    ]


@contextmanager
def metrics_of_failure(console: "Console", *, wanted: bool) -> "Iterator[None]":
    """Shows what a call has used that the block makes and that is refused, where the caller ``wanted`` to see it."""
    from casemate.cli.output import facts
    from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError

    try:
        yield
    except (EnclaveRefusedError, FunctionRefusedError) as error:
        if wanted and error.metrics is not None:
            facts(console, metrics_facts(error.metrics))
        raise
