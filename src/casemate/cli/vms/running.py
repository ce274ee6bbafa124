"""`casemate vm run` and `console`: what a guest prints, as it prints it."""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.cli.output import Screen, facts, printable
from casemate.cli.vms.showing import document
from casemate.client.vms import UNLIMITED, Budget
from casemate.wire.messages.hypervisor import ExitReason
from casemate.wire.messages.vms import VmRan, VmState

if TYPE_CHECKING:
    from casemate.client.vms import Vms

_PIECE = 0.25
"""Seconds of a run between two looks at the console."""
_LOOK = 0.2
"""Seconds between two looks at a console that somebody follows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends at the latest."""

    time: float
    """Seconds."""
    instructions: int | None
    console: int
    """Bytes."""


def run_vm(vms: "Vms", number: int, vcpu: int, limits: Limits, screen: Screen, *, step: bool) -> bool:
    """Runs a vCPU in pieces, and shows its console meanwhile; whether the guest has stopped for good."""
    start = _end_of_console(vms, number)
    shown, executed, exits = start, 0, 0
    deadline = time.monotonic() + limits.time
    while True:
        instructions = UNLIMITED if limits.instructions is None else limits.instructions - executed
        piece = max(0.001, min(_PIECE, deadline - time.monotonic()))
        ran = vms.run(number, vcpu, Budget(piece, instructions, max(1, limits.console - (shown - start))))
        executed, exits = executed + ran.executed, exits + ran.exits
        shown = _print_new(vms, number, shown, screen)
        is_over = ran.reason is not ExitReason.TIME or time.monotonic() >= deadline
        if is_over:
            break
    if step:
        _show_step(vms, number, vcpu, screen)
    _show_end(ran, executed, exits, screen, vms.console(number, start).content if screen.as_json else b"")
    return ran.vm.state is VmState.STOPPED


def show_console(vms: "Vms", number: int, screen: Screen, *, follow: bool) -> None:
    """What there is; with ``follow`` also what comes, until the VM is gone or somebody interrupts."""
    if screen.as_json:
        found = vms.console(number)
        text = found.content.decode(errors="replace")
        screen.show({"vm": number, "start": found.start, "console": text, "ended": found.ended}, lambda _: None)
        return
    shown = 0
    while True:
        shown = _print_new(vms, number, shown, screen)
        if not follow or vms.console(number, shown).ended:
            return
        time.sleep(_LOOK)


def _end_of_console(vms: "Vms", number: int) -> int:
    at = 0
    while True:
        found = vms.console(number, at)
        if not found.content:
            return found.start
        at = found.start + len(found.content)


def _print_new(vms: "Vms", number: int, shown: int, screen: Screen) -> int:
    """Prints from byte ``shown`` on; the next one's number."""
    while True:
        found = vms.console(number, shown)
        if not found.content:
            return shown
        if not screen.as_json:
            sys.stdout.write(printable(found.content.decode(errors="replace")))
            sys.stdout.flush()
        shown = found.start + len(found.content)


def _show_step(vms: "Vms", number: int, vcpu: int, screen: Screen) -> None:
    """Where the vCPU is, if that is to be seen."""
    from casemate.client.errors import HostRefusedError

    try:
        registers = vms.registers(number, vcpu)
    except HostRefusedError as error:
        screen.say(f"its registers are not for the host to see: {error}")
    else:
        screen.say(f"RIP {registers.rip:#x}, RAX {registers.rax:#x}, RSP {registers.rsp:#x}")


def _show_end(ran: VmRan, executed: int, exits: int, screen: Screen, content: bytes) -> None:
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
                ("ended", printable(f"{ran.reason} {ran.detail}".rstrip())),
                ("state", printable(f"{ran.vm.state}: {ran.vm.reason}".rstrip(": "))),
                ("exits", f"{exits} to the hypervisor"),
                *([("instructions", str(executed))] if executed else []),
            ],
        ),
    )
