"""`casemate measure --tee snp`: a guest's launch digest, and every page that it is of."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.file_kinds import FileKind, wrong_kind
from casemate.cli.files import opened_file, read_file
from casemate.cli.output import Screen, facts, table
from casemate.cli.snp.firmware_hashes import hash_on_two_processors
from casemate.wire.errors import WireError
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, PlannedPage, launch_digest, page_count, plan
from casemate.wire.snp.ovmf import MAX_OVMF, Content, Ovmf, parse_ovmf
from casemate.wire.snp.page_info import PageType
from casemate.wire.snp.sev_features import check_features
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

if TYPE_CHECKING:
    from rich.console import Console

_START = 1 << 16
"""How much of a file that is not firmware is looked at to tell its kind (bytes)."""

MAX_KERNEL = 1024 * 1024 * 1024
"""Longest kernel or initial RAM disk (bytes)."""


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """The files that a guest boots from."""

    ovmf: Path
    kernel: Path | None
    initrd: Path | None
    append: str


def measure_guest(files: GuestFiles, vcpu: tuple[int, str, Vmm, int], screen: Screen, *, explain: bool) -> None:
    """Prints the launch digest (48 bytes) of the guest.

    Args:
        files: firmware, kernel, initial RAM disk, command line.
        vcpu: how many, of which type, launched by whom, with which SEV_FEATURES.
        screen: where to.
        explain: name every page.
    """
    vcpus, vcpu_type, vmm, features = vcpu
    if vcpu_type not in VCPU_TYPES:
        raise typer.BadParameter(f"no processor is called {vcpu_type!r}, want one of {', '.join(VCPU_TYPES)}")
    if files.kernel is None and (files.initrd is not None or files.append):
        raise typer.BadParameter("--initrd and --append need --kernel: they are measured for a direct boot alone")
    check_features(features, snp=True)
    shape = GuestShape(vcpus, VCPU_TYPES[vcpu_type], vmm, features, _kernel(files))
    with opened_file(files.ovmf, what="firmware", limit=MAX_OVMF) as content:
        ovmf = _ovmf(content, files.ovmf)
        digest = launch_digest(ovmf, shape, hash_on_two_processors)
        pages = tuple(plan(ovmf, shape)) if explain else ()
        count = page_count(ovmf, shape)
    said: dict[str, object] = {
        "tee": "snp",
        "launch_digest": digest.hex(),
        "vcpus": vcpus,
        "vcpu_type": vcpu_type,
        "vmm": str(vmm),
        "pages": count,
    }
    if explain:
        said["page_list"] = [_document(planned) for planned in pages]

    def human(console: "Console") -> None:
        facts(console, [("launch digest", digest.hex()), ("vCPUs", f"{vcpus} x {vcpu_type}, as {vmm} starts them")])
        if explain:
            _show(console, pages)

    screen.show(said, human)


def _kernel(files: GuestFiles) -> KernelHashes | None:
    if files.kernel is None:
        return None
    initrd = b"" if files.initrd is None else read_file(files.initrd, what="initial RAM disk", limit=MAX_KERNEL)
    return KernelHashes.of(read_file(files.kernel, what="kernel", limit=MAX_KERNEL), initrd, files.append)


def _document(planned: PlannedPage) -> dict[str, object]:
    return {
        "part": str(planned.part),
        "type": planned.page.page_type.name,
        "gpa": planned.page.gpa,
        "sha384": _content(planned),
    }


def _content(planned: PlannedPage) -> str | None:
    """The hash of a page that is measured by its content; None for others."""
    if planned.page.page_type not in (PageType.NORMAL, PageType.VMSA):
        return None
    return hashlib.sha384(planned.page.content).hexdigest()


def _show(console: "Console", pages: tuple[PlannedPage, ...]) -> None:
    rows = table("GPA", "type", "part", "SHA-384 of the content")
    for planned in pages:
        is_vmsa = planned.page.page_type is PageType.VMSA
        where = "(any)" if is_vmsa else f"{planned.page.gpa:#010x}"
        rows.add_row(where, planned.page.page_type.name, str(planned.part), _content(planned) or "not measured")
    console.print(rows)


def _ovmf(content: Content, path: Path) -> Ovmf:
    """The firmware image; WrongKindError where the file is recognisably of another kind."""
    try:
        return parse_ovmf(content)
    except WireError as error:
        start = content[: min(_START, len(content))]
        raise wrong_kind(start, path, what="firmware", wanted=frozenset({FileKind.FIRMWARE})) or error from None
