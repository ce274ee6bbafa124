"""Images that are made to cost: refused soon, by a typed error, and nobody else's enclave notices."""

import threading
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import Client, HostRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.images.functions.build import measured_stream
from casemate.images.image import Image
from casemate.images.layout import lay_out
from casemate.images.sigstruct import sign_enclave
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH

pytestmark = pytest.mark.machine

DOTTED = b"a." * 20_000 + b"a = 1\n"
"""One key that a general parser of TOML needs gigabytes for."""

AT_ONCE = 8
CHIP_SECONDS = 0.1
"""Of processor time, for one image: loading, measuring, EINIT, and starting and ending its process."""
CHIP_MIB = 24
"""Above what the chip had, for all of them together."""

ECHO = "export function main(input) { return input; }"


def altered(workshop: Workshop, files: dict[str, bytes]) -> Image:
    """A good image with other files in it, measured and signed as a developer with tools of their own would."""
    good = workshop.image(ECHO)
    contents = good.contents()
    stream, mr_enclave = measured_stream(lay_out({**contents.files, **files}, (), engine="javascript"))
    sigstruct = sign_enclave(mr_enclave, contents.manifest, workshop.key, day=date(2026, 1, 1))
    return Image("hostile", stream, sigstruct.encode())


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    seconds: float
    peak_mib: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        status = Path(f"/proc/{pid}/status").read_text()
        return cls(sum(map(int, ticks)) / 100, int(status.split("VmHWM:", 1)[1].split(None, 1)[0]) / 1024)


def launched_at_once(machine: LocalMachine, image: Image) -> list[tuple[Code, str]]:
    """The refusals of several launches at a time, by as many clients."""
    refusals: list[tuple[Code, str]] = []

    def launch() -> None:
        with connect(machine.host_socket) as client:
            try:
                client.launch(image)
            except (HostRefusedError, FaultError) as error:
                refusals.append((error.fault.code, error.fault.reason))

    threads = [threading.Thread(target=launch) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return refusals


@pytest.mark.parametrize("lock", [DOTTED, DOTTED[-30_000:]])
def test_a_lock_that_costs_is_refused_before_the_chip_hears_of_it(
    machine: LocalMachine, workshop: Workshop, lock: bytes
) -> None:
    before = Usage.of(machine.status.chip_pid)
    refusals = launched_at_once(machine, altered(workshop, {LOCK_PATH: lock}))
    after = Usage.of(machine.status.chip_pid)
    assert len(refusals) == AT_ONCE
    for code, reason in refusals:
        assert code is Code.LAUNCH_REFUSED
        assert reason.startswith("runtime-lock: casemate.lock is ")
    assert after.peak_mib - before.peak_mib < 1


def test_a_manifest_that_costs_is_refused_by_its_enclave_and_others_are_attested_meanwhile(
    machine: LocalMachine, workshop: Workshop, client: Client
) -> None:
    good = workshop.image(ECHO)
    policy = exact_policy(machine, good)
    neighbour = client.launch(good)
    client.attest(neighbour, policy)
    hostile = altered(workshop, {MANIFEST_PATH: good.contents().files[MANIFEST_PATH] + DOTTED})
    refusals: list[tuple[Code, str]] = []
    before = Usage.of(machine.status.chip_pid)
    attack = threading.Thread(target=lambda: refusals.extend(launched_at_once(machine, hostile)))
    attack.start()
    attested = 0
    while attack.is_alive():
        client.attest(neighbour, policy)
        attested += 1
        time.sleep(0.01)
    after = Usage.of(machine.status.chip_pid)
    assert len(refusals) == AT_ONCE
    for code, reason in refusals:
        assert code is Code.LAUNCH_REFUSED
        assert "casemate.toml: the file is a dotted key of 20001 parts" in reason
    assert attested > 0
    assert after.peak_mib - before.peak_mib < CHIP_MIB
    assert after.seconds - before.seconds < AT_ONCE * CHIP_SECONDS + attested * CHIP_SECONDS
    assert [shown.enclave for shown in client.enclaves() if shown.mr_enclave == hostile.mr_enclave] == []
    client.destroy(neighbour)


@pytest.mark.parametrize("name", ["node:vm", "vm", "node:fs", "data:text/javascript,export default 1"])
def test_a_module_that_imports_what_nobody_has_measured_is_refused_by_its_enclave(
    name: str, workshop: Workshop, client: Client
) -> None:
    source = f"import all from '{name}'; export function main(input) {{ return Object.keys(all); }}"
    with pytest.raises(HostRefusedError) as refused:
        client.launch(altered(workshop, {"guest/main.js": source.encode()}))
    assert refused.value.fault.code == Code.GUEST_ERROR
