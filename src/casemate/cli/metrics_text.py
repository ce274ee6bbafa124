"""What a call used as text for people and as JSON."""

from dataclasses import asdict

from casemate.wire.protocol.call import CallMetrics

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
