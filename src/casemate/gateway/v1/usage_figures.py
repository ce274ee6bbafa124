"""What the calls of each enclave have used, as families of figures for Prometheus."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from casemate.wire.messages.entry import EntryUsage

_MS = 1000
_MIB = 1024 * 1024
_LABELS = ("enclave", "entry")


class UsageFigures(Collector):
    """The figures at one moment. One enclave has 65 entry points at most, so the labels are bounded by the enclaves.

    Args:
        usage: the sums of each enclave, by its number, in the enclave's own rounded words.
    """

    def __init__(self, usage: Mapping[int, Iterable[EntryUsage]]) -> None:
        self._usage = usage

    def collect(self) -> Iterator[Metric]:
        """The families."""
        calls = CounterMetricFamily("casemate_calls", "Answered calls of an enclave", labels=_LABELS)
        cold = CounterMetricFamily("casemate_calls_cold", "Answered calls that had a new guest", labels=_LABELS)
        wall = CounterMetricFamily("casemate_call_seconds", "Time of answered calls in their guests", labels=_LABELS)
        cpu = CounterMetricFamily("casemate_call_cpu_seconds", "Time that guests computed for them", labels=_LABELS)
        ocalls = CounterMetricFamily("casemate_call_ocalls", "OCALLs that they asked for", labels=_LABELS)
        peak = GaugeMetricFamily("casemate_guest_peak_bytes", "Largest memory of a guest", labels=_LABELS)
        for number, entries in self._usage.items():
            for used in entries:
                labels = (str(number), used.entry)
                calls.add_metric(labels, used.calls)
                cold.add_metric(labels, used.cold)
                wall.add_metric(labels, used.wall_ms / _MS)
                cpu.add_metric(labels, used.cpu_ms / _MS)
                ocalls.add_metric(labels, used.ocalls)
                peak.add_metric(labels, used.peak_mib * _MIB)
        yield from (calls, cold, wall, cpu, ocalls, peak)
