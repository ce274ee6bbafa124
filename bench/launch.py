"""Launches: from an image at the client to an enclave that answers challenges."""

import json

from bench.bare_engines import BareDeno
from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import ARGUMENTS, Lab
from bench.processes import at_rest
from casemate.client import Client, connect
from casemate.client.local import LocalMachine, local_machine

COLD = Target(Kind.VALUE, 100, "≤ 100 ms")
WARM = Target(Kind.VALUE, 25, "≤ 25 ms")
BASELINE = "`deno` alone, start to first reply"


def launches(lab: Lab) -> list[Row]:
    """Launches without warm guests (on a second machine) and with; each enclave is destroyed again."""
    arguments = json.dumps(ARGUMENTS).encode()

    def bare() -> None:
        deno = BareDeno(lab.engine)
        alive.append(deno)
        deno.call(arguments)

    def bury() -> None:
        while alive:
            alive.pop().__exit__(None, None, None)

    alive: list[BareDeno] = []
    with (
        local_machine(lab.folder / "poolless", pool=0) as poolless,
        connect(poolless.host_socket) as cold_client,
        connect(lab.machine.host_socket) as warm_client,
    ):
        cold = _Launcher(lab, poolless, cold_client, spare_guests=0)
        warm = _Launcher(lab, lab.machine, warm_client, spare_guests=1)
        again = _Launcher(lab, lab.machine, warm_client, spare_guests=1)
        bare_s, cold_s, warm_s = interleave(
            lab.rounds.launches,
            timed(bare, prepare=bury),
            timed(cold.launch, prepare=cold.clear),
            timed(warm.launch, prepare=warm.clear),
            warm_up=2,
        )
        bury()
        warm.clear()
        again.launch()
        (restart_s,) = interleave(lab.rounds.launches, timed(again.start, prepare=again.stop))
        again.clear()
    baseline = Stats.of_seconds(bare_s)
    size = f"{len(lab.image.sgxs) // 1024} KiB of SGXS"
    return [
        Row("launch", "enclave, cold: no warm guest", "ms", Stats.of_seconds(cold_s), BASELINE, baseline, COLD, size),
        Row("launch", "enclave, from a warm pool", "ms", Stats.of_seconds(warm_s), BASELINE, baseline, WARM, size),
        Row(
            "launch",
            "a stopped enclave started again, warm pool",
            "ms",
            Stats.of_seconds(restart_s),
            BASELINE,
            baseline,
            note="its pages are loaded and checked already",
        ),
    ]


class _Launcher:
    def __init__(self, lab: Lab, machine: LocalMachine, client: Client, *, spare_guests: int) -> None:
        self._lab = lab
        self._machine = machine
        self._client = client
        self._spare_guests = spare_guests
        self._number: int | None = None

    def launch(self) -> None:
        self._number = self._client.launch(self._lab.image)

    def start(self) -> None:
        assert self._number is not None
        self._client.start(self._number)

    def stop(self) -> None:
        assert self._number is not None
        self._client.stop(self._number)
        at_rest(self._machine, enclaves=0, spare_guests=self._spare_guests)

    def clear(self) -> None:
        if self._number is not None:
            self._client.destroy(self._number)
            self._number = None
        at_rest(self._machine, enclaves=0, spare_guests=self._spare_guests)
