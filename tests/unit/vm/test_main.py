"""The process of a VM where its emulator is not installed."""

import socket
import sys

import pytest

from casemate.link.channel import Channel
from casemate.vm.__main__ import main
from casemate.wire.encodings.message import parse_message
from casemate.wire.protocol.faults import Code, Fault


def test_a_vm_without_its_emulator_tells_the_chip_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unicorn", None)  # the import system's own way to say "not there"
    ours, theirs = socket.socketpair()
    host, hypervisor = socket.socketpair()
    with host:
        chip = Channel(ours)
        chip.send(b"power on", timeout=1.0)
        numbers = {"--chip-fd": theirs.detach(), "--hypervisor-fd": hypervisor.detach(), "--dram-fd": 0}
        assert main([word for name, number in numbers.items() for word in (name, str(number))]) == 1
        answer = parse_message(chip.receive(timeout=1.0).payload, Fault)
        chip.close()
    assert answer.code is Code.UNAVAILABLE
    assert answer.reason.startswith('a confidential VM needs the extra "vm"')
    assert answer.reason.endswith("pip install 'casemate[vm]'")
