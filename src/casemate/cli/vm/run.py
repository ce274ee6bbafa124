"""`casemate vm run` and `console`: what a guest prints, as it prints it."""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.cli.output import Screen, facts, printable
from casemate.cli.vm.show import document
from casemate.client.vm.sync import UNLIMITED, Budget
from casemate.wire.messages.vm.host import VmRan, VmState
from casemate.wire.messages.vm.hypervisor import ExitReason

if TYPE_CHECKING:
    from casemate.client.vm.sync import Vms

_PIECE = 0.25
"""Seconds of a run between two looks at the console."""
_LOOK = 0.2
"""Seconds between two looks at a console that somebody follows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits at which a run ends."""

    time: float
    """Seconds."""
    instructions: int | None
    console: int
    """Bytes."""


def run_vm(vms: "Vms", number: int, vcpu: int, limits: Limits, screen: Screen, *, step: bool) -> bool:
    """Runs a vCPU in pieces and prints its console between them; returns whether the guest has stopped for good."""
    start = _end_of_console(vms, number)
    console = _Console(vms, number, start, screen)
    executed, exits = 0, 0
    deadline = time.monotonic() + limits.time
    while True:
        instructions = UNLIMITED if limits.instructions is None else limits.instructions - executed
        piece = max(0.001, min(_PIECE, deadline - time.monotonic()))
        ran = vms.run(number, vcpu, Budget(piece, instructions, max(1, limits.console - (console.shown - start))))
        executed, exits = executed + ran.executed, exits + ran.exits
        console.print_new()
        is_over = ran.reason is not ExitReason.TIME or time.monotonic() >= deadline
        if is_over:
            break
    console.end_line()
    if step:
        _show_step(vms, number, vcpu, screen)
    printed = vms.console(number, start).content if screen.as_json else b""
    _show_end(screen, ran, ended=_end(ran, limits), executed=executed, exits=exits, content=printed)
    return ran.vm.state is VmState.STOPPED


def show_console(vms: "Vms", number: int, screen: Screen, *, follow: bool) -> None:
    """Prints the console; with ``follow`` also what comes, until the VM is gone or the user interrupts."""
    if screen.as_json:
        found = vms.console(number)
        text = found.content.decode(errors="replace")
        screen.show({"vm": number, "start": found.start, "console": text, "ended": found.ended}, lambda _: None)
        return
    console = _Console(vms, number, 0, screen)
    while True:
        console.print_new()
        if not follow or vms.console(number, console.shown).ended:
            console.end_line()
            return
        time.sleep(_LOOK)


def _end_of_console(vms: "Vms", number: int) -> int:
    at = 0
    while True:
        found = vms.console(number, at)
        if not found.content:
            return found.start
        at = found.start + len(found.content)


class _Console:
    """A guest's console on standard output, from byte ``shown`` on."""

    def __init__(self, vms: "Vms", number: int, shown: int, screen: Screen) -> None:
        self._vms = vms
        self._number = number
        self._screen = screen
        self._is_mid_line = False
        self.shown = shown

    def print_new(self) -> None:
        """Prints what the guest has written since the last look."""
        while (found := self._vms.console(self._number, self.shown)).content:
            if not self._screen.as_json:
                sys.stdout.write(printable(found.content.decode(errors="replace")))
                sys.stdout.flush()
                self._is_mid_line = not found.content.endswith(b"\n")
            self.shown = found.start + len(found.content)

    def end_line(self) -> None:
        """Begins a new line on a terminal; standard output stays what the guest wrote."""
        if self._is_mid_line:
            self._screen.stderr.print()
            self._is_mid_line = False


def _show_step(vms: "Vms", number: int, vcpu: int, screen: Screen) -> None:
    """Prints where the vCPU stands, if the VM's mode lets the host see that."""
    from casemate.client.errors import HostRefusedError

    try:
        registers = vms.registers(number, vcpu)
    except HostRefusedError as error:
        screen.say(f"its registers are not for the host to see: {error}")
    else:
        screen.say(f"RIP {registers.rip:#x}, RAX {registers.rax:#x}, RSP {registers.rsp:#x}")


def _end(ran: VmRan, limits: Limits) -> str:
    """Why the run has ended; a limit is named by the option that sets it."""
    match ran.reason:
        case ExitReason.TIME:
            return f"time: the {limits.time:g} s of --time are over; another `vm run` goes on from here"
        case ExitReason.INSTRUCTIONS:
            return "instructions: as many as --instructions or --step allows; another `vm run` goes on from here"
        case _:
            return printable(f"{ran.reason} {ran.detail}".rstrip())


def _show_end(screen: Screen, ran: VmRan, *, ended: str, executed: int, exits: int, content: bytes) -> None:
    screen.show(
        {
            "vm": document(ran.vm),
            "reason": str(ran.reason),
            "detail": ran.detail,
            "instructions": executed,
            "exits": exits,
            "console": content.decode(errors="replace"),
        },
        lambda _: facts(
            screen.stderr,
            [
                ("ended", ended),
                ("state", printable(f"{ran.vm.state}: {ran.vm.reason}".rstrip(": "))),
                ("exits", f"{exits} to the hypervisor"),
                *([("instructions", str(executed))] if executed else []),
            ],
        ),
    )
