"""A guest that has got past the bootstrap and says what it likes on the pipe, played by a shell script."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from casemate.engines.frames import NO_CALL, FrameKind, frame, head_and_text
from casemate.testing.lone_spawner import LoneEnclave, late, lone_spawner
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest

pytestmark = pytest.mark.machine

ALL_OFF = tuple(LayerRequest(name, LayerMode.OFF) for name in LayerName if name is not LayerName.WATCHDOG)
"""A shell needs more than Landlock and seccomp leave an engine."""


def said(payload: bytes) -> str:
    """A shell command that writes a frame."""
    text = len(payload).to_bytes(4, "little") + payload
    return "printf '" + "".join(f"\\{byte:03o}" for byte in text) + "'"


LOADED = said(frame(FrameKind.LOADED, NO_CALL))
FORGED = said(frame(FrameKind.RETURNED, b"12345678", b"1"))


SPOKEN_TO = "head -c 1 >/dev/null"
"""Waits for the first byte of the program: who dies before that is never handed over."""


@contextmanager
def guest_that(*commands: str, folder: Path) -> Iterator[LoneEnclave]:
    """The engine is a shell. The first argument of an engine is ``run``, so that is what the script is called."""
    (folder / "run").write_text("\n".join((said(frame(FrameKind.WARM, NO_CALL)), *commands)) + "\n")
    with lone_spawner(Path("/bin/sh"), layers=ALL_OFF, pool=0, folder=folder) as spawner:
        enclave = spawner.spawn()
        assert "pid" in enclave.need_guest()
        yield enclave


HOSTILE = {
    "floods its pipe": ("exec yes",),
    "floods its pipe after loading": (LOADED, "exec yes"),
    "announces a frame beyond all limits": (LOADED, "printf '\\377\\377\\377\\177'", "exec yes"),
    "returns before it is called": (LOADED, FORGED, "exec sleep 60"),
    "returns what it was not asked for": (LOADED, "head -c 30 >/dev/null", FORGED, "exec sleep 60"),
    "speaks as an enclave": (said(frame(FrameKind.CALL, NO_CALL, head_and_text({}, b""))), "exec sleep 60"),
    "is warm twice": (said(frame(FrameKind.WARM, NO_CALL)), "exec sleep 60"),
    "sends random bytes": ("head -c 1000000 /dev/urandom", "exec sleep 60"),
    "sends an empty frame": ("printf '\\000\\000\\000\\000'", "exec sleep 60"),
    "ends": (SPOKEN_TO, "exit 3"),
    "is killed": (SPOKEN_TO, "kill -SEGV $$"),
    "prints without end": (said(frame(FrameKind.PRINTED, NO_CALL, b"x" * 4096)) + "; while :; do", FORGED, "done"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_guest_that_breaks_the_protocol_crashes_alone(what: str, tmp_path: Path) -> None:
    with guest_that(*HOSTILE[what], folder=tmp_path) as enclave:
        outcome = enclave.load("export function main() {}", time_ms=1000)
        if outcome.code == "ok":
            outcome = enclave.call(time_ms=1000)
        assert outcome.code == Code.GUEST_CRASHED
        assert outcome.seconds < 1.0 + late()
        assert "pid" in enclave.need_guest()


STUCK = {
    "reads nothing": ("exec sleep 60",),
    "says half a frame": ("printf '\\020\\000\\000\\000\\021'", "exec sleep 60"),
    "reads and says nothing": ("exec cat >/dev/null",),
    "closes its output and lives on": ("exec >/dev/null", "exec cat"),
}


@pytest.mark.parametrize("what", STUCK)
def test_a_guest_that_is_stuck_runs_out_of_time(what: str, tmp_path: Path) -> None:
    with guest_that(*STUCK[what], folder=tmp_path) as enclave:
        outcome = enclave.load("//" + "x" * 3_000_000 + "\nexport function main() {}", time_ms=500)
        assert outcome.code == Code.TIME_LIMIT
        assert outcome.seconds < 0.5 + late()


def test_a_flood_on_standard_error_costs_the_guest_alone(tmp_path: Path) -> None:
    with guest_that("exec yes >&2", folder=tmp_path) as enclave:
        outcome = enclave.load("export function main() {}", time_ms=500)
        assert outcome.code == Code.TIME_LIMIT
        assert outcome.seconds < 0.5 + late()
        assert "pid" in enclave.need_guest()
