"""Whatever dies takes the VMs along that hang on it, and no others; and the machine goes on."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.rigs.process_tree import descendants, is_alive

from casemate.client import Client, connect
from casemate.client.local import LocalMachine
from casemate.images.vm.builtin import firmware
from casemate.link.errors import PeerGoneError
from casemate.wire.messages.vm.host import LaunchVm, VmIs, VmState
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.vmm import Vmm

pytestmark = pytest.mark.machine

PATIENCE = 20.0


def launched(client: Client, mode: VmMode = VmMode.SEV_SNP, *, finish: bool = True) -> VmIs:
    wanted = LaunchVm(
        name="hello",
        mode=mode,
        firmware=firmware("hello"),
        memory_mib=16,
        vcpus=1,
        vcpu_signature=0xA00F11,
        vmm=Vmm.QEMU,
        guest_features=int(mode.has_rmp),
        policy=0x30000,
        host_data=bytes(32),
        finish=finish,
    )
    return client.vms.launch(wanted)


def processes(machine: LocalMachine) -> set[int]:
    """Of VMs."""
    return {pid for pid, command in descendants(machine.status.chip_pid).items() if "casemate.vm" in command}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def vms_of_next_host(machine: LocalMachine) -> tuple[VmIs, ...] | None:
    try:
        with connect(machine.host_socket) as client:
            return client.vms.all()
    except PeerGoneError:
        return None


@pytest.mark.parametrize("victim", ["host_pid", "chip_pid"])
@pytest.mark.parametrize("finish", [True, False])
def test_vms_end_with_host_and_chip(own_machine: LocalMachine, victim: str, finish: bool) -> None:
    with connect(own_machine.host_socket) as client:
        launched(client, finish=finish)
        launched(client, VmMode.SEV, finish=finish)
    before = processes(own_machine)
    assert len(before) == 2
    os.kill(getattr(own_machine.status, victim), signal.SIGKILL)
    until(lambda: not any(map(is_alive, before)))
    until(lambda: vms_of_next_host(own_machine) == ())
    with connect(own_machine.host_socket) as client:
        again = launched(client)
        client.vms.run(again.vm)
        assert b"Hello" in client.vms.console(again.vm).content


def test_a_killed_vm_is_lost_and_its_neighbour_runs_on(machine: LocalMachine) -> None:
    with connect(machine.host_socket) as client:
        victim = launched(client)
        (process,) = processes(machine)
        neighbour = launched(client)
        os.kill(process, signal.SIGKILL)
        until(lambda: client.vms.get(victim.vm).state is VmState.LOST)
        assert "signal 9" in client.vms.get(victim.vm).reason
        client.vms.run(neighbour.vm)
        assert b"Hello" in client.vms.console(neighbour.vm).content
        client.vms.destroy(victim.vm)
        assert [each.vm for each in client.vms.all()] == [neighbour.vm]
        client.vms.destroy(neighbour.vm)


def test_what_is_destroyed_has_no_process(machine: LocalMachine) -> None:
    with connect(machine.host_socket) as client:
        vm = launched(client)
        client.vms.destroy(vm.vm)
        assert not processes(machine)
        with pytest.raises(FaultError) as refusal:
            client.vms.run(vm.vm)
        assert refusal.value.fault.code is Code.UNKNOWN_VM
