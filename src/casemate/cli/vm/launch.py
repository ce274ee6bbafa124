"""`casemate vm launch`: the message to the host, from the command's options."""

from dataclasses import dataclass
from pathlib import Path

import typer

from casemate.cli.evidence.files import read_as
from casemate.cli.file_kinds import FileKind
from casemate.cli.files import read_file
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.host import MAX_FIRMWARE, MAX_KERNEL, LaunchVm
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

GUEST_POLICY = 0x3_0000
"""GUEST_POLICY (56860, 4.3): SMT allowed, and the bit that is always one."""
DEBUG = 1 << 19
_SNP_ACTIVE = 1
_HOST_DATA_SIZE = 32
_ID_BLOCK_SIZE, _ID_AUTH_SIZE = 96, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """The options of `casemate vm launch`."""

    guest: str
    mode: VmMode
    memory_mib: int
    vcpus: int
    vcpu_type: str
    vmm: Vmm
    debug: bool
    host_data: str | None
    kernel: Path | None
    initrd: Path | None
    append: str
    id_block: Path | None
    id_auth: Path | None
    author_key: bool
    finish: bool
    name: str | None


def launch_message(wanted: Launching) -> LaunchVm:
    """The message for the host. Raises typer's errors, and those of files that cannot be read."""
    if wanted.vcpu_type not in VCPU_TYPES:
        raise typer.BadParameter(f"no processor is called {wanted.vcpu_type!r}, want one of {', '.join(VCPU_TYPES)}")
    if wanted.kernel is None and (wanted.initrd is not None or wanted.append):
        raise typer.BadParameter("--initrd and --append need --kernel: they are measured for a direct boot alone")
    if (wanted.id_block is None) is not (wanted.id_auth is None):
        raise typer.BadParameter("--id-block and --id-auth go together: the second has the signature over the first")
    return LaunchVm(
        name=wanted.name or Path(wanted.guest).stem[:64] or "guest",
        mode=wanted.mode,
        firmware=firmware_of(wanted.guest),
        memory_mib=wanted.memory_mib,
        vcpus=wanted.vcpus,
        vcpu_signature=VCPU_TYPES[wanted.vcpu_type],
        vmm=wanted.vmm,
        guest_features=_SNP_ACTIVE if wanted.mode.has_rmp else 0,
        policy=GUEST_POLICY | (DEBUG if wanted.debug else 0),
        host_data=_host_data(wanted.host_data),
        kernel=_file(wanted.kernel, "kernel", MAX_KERNEL),
        initrd=_file(wanted.initrd, "initial RAM disk", MAX_KERNEL),
        append=wanted.append.encode() if wanted.append else None,
        id_block=_file(wanted.id_block, "ID_BLOCK", _ID_BLOCK_SIZE),
        id_auth=_file(wanted.id_auth, "ID_AUTH", _ID_AUTH_SIZE),
        author_key=wanted.author_key,
        finish=wanted.finish,
    )


def firmware_of(guest: str) -> bytes:
    """The image of a built-in guest, or that in a file: a name with a dot or a slash is a file's."""
    from casemate.images.vm.builtin import GUESTS, firmware

    path = Path(guest)
    if guest in GUESTS or not (path.suffix or len(path.parts) > 1):
        return firmware(guest)
    return read_as(path, _firmware, what="firmware", kind=FileKind.FIRMWARE, limit=MAX_FIRMWARE)


def _firmware(content: bytes) -> bytes:
    """The image, checked here because a host would not know which file the user named."""
    try:
        parse_ovmf(content)
    except WireError as error:
        error.advice = "`casemate vm guests` lists the built-in guests; other firmware is an OVMF image"
        raise
    return content


def _file(path: Path | None, what: str, limit: int) -> bytes | None:
    return None if path is None else read_file(path, what=what, limit=limit)


def _host_data(text: str | None) -> bytes:
    if text is None:
        return bytes(_HOST_DATA_SIZE)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != _HOST_DATA_SIZE:
        raise typer.BadParameter(f"{text[:80]!r} is no host data, want 64 hexadecimal digits", param_hint="--host-data")
    return data
