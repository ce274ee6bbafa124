"""VMs, their memory, and the reverse map table, for people and as JSON."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.files import write_file
from casemate.cli.output import Screen, facts, printable, table
from casemate.wire.messages.vm.host import VmIs, VmState
from casemate.wire.messages.vm.hypervisor import MAX_RMP_ENTRIES, RmpEntry
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.vmsa import Segment, Vmsa

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.client.vm.sync import Vms

_LINE = 16
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)))
_CONTROL = ("rip", "rflags", "cr0", "cr2", "cr3", "cr4", "efer")
_PERMISSIONS = "rwxX"
"""Read, write, execute at CPL 3, execute as supervisor."""


def document(found: VmIs) -> dict[str, object]:
    """One VM as JSON."""
    return {
        "vm": found.vm,
        "name": found.name,
        "mode": str(found.mode),
        "state": str(found.state),
        "reason": found.reason,
        "policy": found.policy,
        "memory_mib": found.memory_mib,
        "vcpus": found.vcpus,
        "launch_digest": found.digest.hex(),
    }


def show_vm(screen: Screen, found: VmIs) -> None:
    digest = "digest so far" if found.state is VmState.LAUNCHING else "launch digest"
    screen.show(
        document(found),
        lambda console: facts(
            console,
            [
                ("VM", str(found.vm)),
                ("name", printable(found.name)),
                ("mode", str(found.mode)),
                ("state", printable(f"{found.state}: {found.reason}".rstrip(": "))),
                ("memory", f"{found.memory_mib} MiB, {found.vcpus} vCPU" + ("s" if found.vcpus > 1 else "")),
                ("policy", f"{found.policy:#x}"),
                (digest, found.digest.hex()),
            ],
        ),
    )


def show_vms(screen: Screen, found: Sequence[VmIs]) -> None:

    def human(console: "Console") -> None:
        if not found:
            console.print("no VMs; `casemate vm launch hello` launches one")
            return
        rows = table("N", "name", "mode", "state", "memory", "vCPUs", "launch digest", "reason")
        for vm in found:
            cells = (str(vm.vm), printable(vm.name), str(vm.mode), str(vm.state), f"{vm.memory_mib} MiB", str(vm.vcpus))
            rows.add_row(*cells, vm.digest.hex()[:24] + "…", printable(vm.reason))
        console.print(rows)

    screen.show({"vms": [document(vm) for vm in found]}, human)


def show_guests(screen: Screen) -> None:
    """Prints the built-in guests."""
    from casemate.images.vm.builtin import GUESTS

    def human(console: "Console") -> None:
        rows = table("guest", "what it does")
        for name, what in GUESTS.items():
            rows.add_row(name, what)
        console.print(rows)

    screen.show({"guests": dict(GUESTS)}, human)


def address_of(text: str) -> int:
    """An address as it was typed. It must be hexadecimal with 0x: 10000 could mean two things."""
    if not _ADDRESS.fullmatch(text):
        raise typer.BadParameter(f"{text[:80]!r} is no address, want it in hexadecimal with 0x, such as 0x10000")
    return int(text, 16)


def show_memory(screen: Screen, address: int, content: bytes, output: Path | None) -> None:
    """Prints a dump of memory, or writes it to a file."""
    if output is not None:
        write_file(output, content, what="memory")
    said: dict[str, object] = {"address": address, "size": len(content)}
    said |= {"file": str(output)} if output is not None else {"hex": content.hex()}

    def human(console: "Console") -> None:
        if output is not None:
            facts(console, [("memory", f"{output} ({len(content)} bytes from {address:#x})")])
            return
        for line in _dump(address, content):
            console.out(line)

    screen.show(said, human)


def _dump(address: int, content: bytes) -> Iterator[str]:
    before, skipped = b"", False
    for at in range(0, len(content), _LINE):
        line = content[at : at + _LINE]
        if line == before and at + _LINE < len(content):
            if not skipped:
                yield "*"
            skipped = True
            continue
        before, skipped = line, False
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{address + at:012x}  {line[:8].hex(' '):<23}  {line[8:].hex(' '):<23}  |{text}|"


def rmp_entries(vms: "Vms", number: int, first: int, count: int | None) -> list[RmpEntry]:
    """RMP entries from ``first`` on; without a ``count``, up to the end of the RAM size that the host states."""
    if count is None:
        count = vms.get(number).memory_mib * (1 << 20) // PAGE_SIZE - first // PAGE_SIZE
    found: list[RmpEntry] = []
    while len(found) < count:
        found += vms.rmp(number, first + len(found) * PAGE_SIZE, min(MAX_RMP_ENTRIES, count - len(found)))
    return found


@dataclass(slots=True)
class _Rows:
    """Consecutive RMP entries in the same state."""

    first: RmpEntry
    count: int = 1

    def goes_on_with(self, entry: RmpEntry) -> bool:
        """Whether an entry has the same state and follows the last one in both address spaces."""
        first, behind = self.first, self.count * PAGE_SIZE
        gpa = first.gpa + behind if first.assigned else 0
        return (entry.spa, entry.gpa, _state(entry)) == (first.spa + behind, gpa, _state(first))


def _state(entry: RmpEntry) -> tuple[object, ...]:
    return (entry.assigned, entry.validated, entry.immutable, entry.vmsa, entry.perms)


def show_rmp(screen: Screen, entries: Sequence[RmpEntry]) -> None:
    """Prints RMP entries, grouped into ranges of the same state."""
    rows: list[_Rows] = []
    for entry in entries:
        if rows and rows[-1].goes_on_with(entry):
            rows[-1].count += 1
        else:
            rows.append(_Rows(entry))

    def human(console: "Console") -> None:
        shown = table("SPA", "pages", "owner", "GPA", "validated", "VMSA", "VMPL 0", "1", "2", "3")
        for row in rows:
            entry = row.first
            perms = [_perms(bits) for bits in entry.perms] if entry.assigned else [""] * 4
            owner = "guest" if entry.assigned else "hypervisor"
            gpa = f"{entry.gpa:#x}" if entry.assigned else ""
            flags = ["yes" if flag else "" for flag in (entry.validated, entry.vmsa)]
            shown.add_row(f"{entry.spa:#x}", str(row.count), owner, gpa, *flags, *perms)
        console.print(shown)

    screen.show(
        {
            "ranges": [
                {
                    "spa": row.first.spa,
                    "pages": row.count,
                    "assigned": row.first.assigned,
                    "gpa": row.first.gpa if row.first.assigned else None,
                    "validated": row.first.validated,
                    "immutable": row.first.immutable,
                    "vmsa": row.first.vmsa,
                    "permissions": list(row.first.perms),
                }
                for row in rows
            ]
        },
        human,
    )


def _perms(bits: int) -> str:
    return "".join(letter if bits >> at & 1 else "-" for at, letter in enumerate(_PERMISSIONS))


def show_registers(screen: Screen, vmsa: Vmsa) -> None:
    """Prints general registers, control registers and segments."""
    values = {name: getattr(vmsa, name) for name in (*_REGISTERS, *_CONTROL)}
    segments: dict[str, Segment] = {name: getattr(vmsa, name) for name in ("cs", "ss", "ds", "es", "fs", "gs")}
    screen.show(
        {
            "registers": values,
            "segments": {name: {"selector": each.selector, "base": each.base} for name, each in segments.items()},
            "vmpl": vmsa.vmpl,
        },
        lambda console: facts(
            console,
            [
                *((name.upper(), f"{value:#018x}") for name, value in values.items()),
                *((name.upper(), f"{each.selector:#06x} base {each.base:#x}") for name, each in segments.items()),
                ("VMPL", str(vmsa.vmpl)),
            ],
        ),
    )
