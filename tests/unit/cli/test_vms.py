"""What `casemate vm` shows of runs and memory, of VMs that are played."""

import pytest
import typer

from casemate.cli.output import Screen
from casemate.cli.vm.run import Limits, run_vm, show_console
from casemate.cli.vm.show import address_of
from casemate.client.vm.sync import Budget
from casemate.wire.messages.vm.host import ConsoleIs, VmIs, VmRan, VmState
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.mode import VmMode

VM = VmIs(1, "played", VmMode.SEV_SNP, VmState.HALTED, "", 0x30000, 64, 1, bytes(48))


class Played:
    """A VM that prints ``text`` in its one run, and then gives way for ``reason``."""

    def __init__(self, reason: ExitReason, text: bytes) -> None:
        self.reason = reason
        self.text = text
        self.printed = b""

    def run(self, number: int, vcpu: int, budget: Budget) -> VmRan:
        assert (number, vcpu) == (1, 0)
        assert budget.time > 0
        self.printed = self.text
        return VmRan(VM, self.reason, 7, 3, "")

    def console(self, _number: int, start: int = 0) -> ConsoleIs:
        return ConsoleIs(start, self.printed[start:], ended=True)


def ran(reason: ExitReason, text: bytes, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    run_vm(Played(reason, text), 1, 0, Limits(0.01, None, 1000), Screen(as_json=False), step=False)  # type: ignore[arg-type]
    said = capsys.readouterr()
    return said.out, said.err


def test_facts_begin_a_line_of_their_own_where_the_guest_ended_in_the_middle_of_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, err = ran(ExitReason.HALT, b"half a li", capsys)
    assert out == "half a li"  # standard output is the guest's, byte for byte
    assert err.startswith("\nended")
    out, err = ran(ExitReason.HALT, b"a line\n", capsys)
    assert out == "a line\n"
    assert err.startswith("ended")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ExitReason.TIME, "time: the 0.01 s of --time are over"),
        (ExitReason.INSTRUCTIONS, "instructions: as many as --instructions or --step allows"),
        (ExitReason.HALT, "halt"),
    ],
)
def test_says_which_budget_has_ended_a_run(reason: ExitReason, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"ended         {words}" in ran(reason, b"", capsys)[1]


def test_a_console_that_is_shown_ends_its_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    played = Played(ExitReason.HALT, b"half")
    played.printed = played.text
    show_console(played, 1, Screen(as_json=False), follow=False)  # type: ignore[arg-type] # plays one
    assert capsys.readouterr() == ("half", "\n")


@pytest.mark.parametrize(
    ("text", "address"), [("0x0", 0), ("0x10000", 1 << 16), ("0XfF", 255), ("0x" + "f" * 16, 2**64 - 1)]
)
def test_addresses_are_hexadecimal(text: str, address: int) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text", ["10000", "0", "0x", "0x1_0", " 0x1", "0x1 ", "-0x1", "+0x1", "0x" + "1" * 17, "0b1", "0x\uff11", "ff", ""]
)
def test_other_numbers_are_refused_since_10000_would_mean_two_things(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="hexadecimal with 0x, such as 0x10000"):
        address_of(text)
