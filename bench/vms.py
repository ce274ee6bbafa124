"""Confidential VMs: the cost of encryption for a page and for a vCPU, and the time of a launch."""

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS
from unicorn import UC_ARCH_X86, UC_MODE_64, UC_PROT_EXEC, UC_PROT_READ, UC_PROT_WRITE, Uc

from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import Lab
from casemate.images.vm.assemble import Source, assemble
from casemate.images.vm.builtin import firmware, sources
from casemate.images.vm.firmware import build_firmware
from casemate.testing.lone_vm import LoneVm
from casemate.vm.dram import Dram
from casemate.vm.nested import NestedPageTable
from casemate.vm.page_cache import Access, PageCache, Privilege
from casemate.vm.page_cipher import AuthenticatedPages, PageCipher, TweakedPages
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.launch import GuestShape
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.vmm import Vmm

TARGET = Target(Kind.RATIO, 1 / 0.7, "≥ 70 %")
PAGES = 2048
WORKING_SET = 64
"""Pages that the loop reads and writes."""
RAM = 16 << 20
GIB = 1 << 30
_DATA, _CODE = 0x10_0000, 0xC000_0000
_TOP = 1 << 32


def vms(lab: Lab) -> list[Row]:
    """Pages, vCPUs, launches."""
    return [*_pages(lab), *_vcpus(lab), *_launches(lab)]


def _pages(lab: Lab) -> list[Row]:
    key, tweak_key = secrets.token_bytes(32), secrets.token_bytes(32)
    contents = [os.urandom(PAGE_SIZE) for _ in range(PAGES)]
    rows = []
    for name, library, in_one_piece, ours in (
        (
            "AES-XTS (sev, sev-es, sev-snp)",
            _library_xts(key + tweak_key),
            lambda whole: Cipher(AES(key + tweak_key), XTS(bytes(16))).encryptor().update(whole),
            lambda: TweakedPages(key, tweak_key),
        ),
        (
            "AES-GCM (authenticated)",
            _library_gcm(key),
            lambda whole: AESGCM(key).encrypt(bytes(12), whole, b""),
            lambda: AuthenticatedPages(key, 1),
        ),
    ):
        rows += _rows_of(lab, name, _Arms(contents, library, in_one_piece, ours))
    return rows


@dataclass(frozen=True, slots=True)
class _Arms:
    contents: list[bytes]
    library: Callable[[list[bytes]], None]
    in_one_piece: Callable[[bytes], object]
    ours: Callable[[], PageCipher]


def _rows_of(lab: Lab, name: str, arms: _Arms) -> list[Row]:
    whole = b"".join(arms.contents)
    base_s, cipher_s, controller_s, whole_s = interleave(
        lab.rounds.pages,
        timed(lambda: arms.library(arms.contents)),
        timed(lambda: _there_and_back(arms.ours(), arms.contents)),
        _through_the_controller(arms.ours(), lab.folder),
        timed(lambda: arms.in_one_piece(whole)),
    )
    base, baseline = Stats.of_seconds(base_s), "the library's calls, page by page"
    mib = len(whole) / (1 << 20)
    bulk = f"in one piece, one way: {mib / Stats.of_seconds(whole_s).median * 1000:.0f} MiB/s"
    what = f"{PAGES} pages there and back, {name}"
    through = "the same through the memory controller and the DRAM file"
    return [
        Row("vm", what, "ms", Stats.of_seconds(cipher_s), baseline, base, TARGET, note=bulk),
        Row("vm", through, "ms", Stats.of_seconds(controller_s), baseline, base),
    ]


def _library_xts(key: bytes) -> Callable[[list[bytes]], None]:
    algorithm = AES(key)

    def work(contents: list[bytes]) -> None:
        for at, content in enumerate(contents):
            mode = XTS(at.to_bytes(16, "little"))
            sealed = Cipher(algorithm, mode).encryptor().update(content)
            Cipher(algorithm, mode).decryptor().update(sealed)

    return work


def _library_gcm(key: bytes) -> Callable[[list[bytes]], None]:
    def work(contents: list[bytes]) -> None:
        nonce, associated = bytes(12), bytes(24)
        for at, content in enumerate(contents):
            name = at.to_bytes(8, "little")
            sealed = AESGCM(blake2b(name, key=key, digest_size=32).digest()).encrypt(nonce, content, associated)
            AESGCM(blake2b(name, key=key, digest_size=32).digest()).decrypt(nonce, sealed, associated)

    return work


def _there_and_back(cipher: PageCipher, contents: list[bytes]) -> None:
    for at, content in enumerate(contents):
        address = at * PAGE_SIZE
        cipher.decrypt(address, address, cipher.encrypt(address, address, content))


def _through_the_controller(cipher: PageCipher, folder: Path) -> Callable[[], float]:
    descriptor, _ = tempfile.mkstemp(dir=folder)
    os.ftruncate(descriptor, PAGES * PAGE_SIZE)
    nested = NestedPageTable()
    nested.map(0, 0, PAGES)
    cache = PageCache(Dram(descriptor, PAGES), nested, None, cipher, _TOP)
    privilege = Privilege(0, user=False)

    def work() -> None:
        for at in range(PAGES):
            cache.place(at * PAGE_SIZE, Access.WRITE, privilege, private=True)
        cache.flush()

    return timed(work)


def _vcpus(lab: Lab) -> list[Row]:
    loops = 20_000 if lab.rounds.pages > 2 else 1_000
    loop = _loop(loops)
    image = build_firmware(_without_ghcb(loop))
    code = assemble([Source("loop.s", f"start:\n{loop}\n    hlt\n")], symbols={}, base=_CODE).content
    arms = [timed(lambda: _alone(code))]
    arms += [lambda mode=mode: _in_a_vm(mode, image) for mode in (VmMode.SEV, VmMode.AUTHENTICATED)]  # type: ignore[misc]
    alone_s, *ours = interleave(max(3, lab.rounds.pages // 2), *arms)
    base = Stats.of_seconds(alone_s)
    apart = "Unicorn alone, code and data apart"
    note = f"a loop over {WORKING_SET} pages; start and end of the VMRUN are counted"
    return [
        Row("vm", f"vCPU, {mode}", "ms", Stats.of_seconds(found), apart, base, TARGET, note=note)
        for mode, found in zip((VmMode.SEV, VmMode.AUTHENTICATED), ours, strict=True)
    ]


def _loop(rounds: int) -> str:
    return f"""
    mov r8d, {_DATA}
    xor r9d, r9d
outer:
    mov rsi, r8
    mov ecx, {WORKING_SET}
page:
    mov rax, [rsi]
    add rax, rcx
    imul rax, rax, 3
    xor rax, r9
    mov [rsi], rax
    mov [rsi+64], rax
    add rsi, {PAGE_SIZE}
    dec ecx
    jnz page
    inc r9
    cmp r9, {rounds}
    jne outer
"""


def _without_ghcb(loop: str) -> tuple[Source, ...]:
    """A guest that needs no hypervisor. It halts once before the loop, so that its start is not measured."""
    common = tuple(
        Source(source.name, source.text.replace("ghcb_start:", "ghcb_start_as_it_is:"))
        for source in sources("hello")[:-1]
    )
    main = f"""
ghcb_start:
    ret
main:
    mov ebx, {WORKING_SET}
    mov edi, {_DATA}
prepare:
    call validate_page
    add edi, {PAGE_SIZE}
    dec ebx
    jnz prepare
    hlt
{loop}
    ret
ap_main:
    ret
"""
    return (*common, Source("loop.s", main))


def _alone(code: bytes) -> None:
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(_DATA, WORKING_SET * PAGE_SIZE, UC_PROT_READ | UC_PROT_WRITE)
    uc.mem_map(_CODE, PAGE_SIZE, UC_PROT_READ | UC_PROT_EXEC)
    uc.mem_write(_CODE, code)
    uc.emu_start(_CODE, _CODE + len(code))


def _in_a_vm(mode: VmMode, image: bytes) -> float:
    shape = GuestShape(1, 0xA00F11, Vmm.QEMU, int(mode.has_rmp))
    with LoneVm.launched(mode, parse_ovmf(image), shape, memory=RAM) as vm:
        assert vm.run().reason is ExitReason.HALT
        return timed(lambda: vm.run(time_ms=20_000))()


def _launches(lab: Lab) -> list[Row]:
    ovmf = parse_ovmf(firmware("hello"))

    def launch(memory: int) -> None:
        shape = GuestShape(1, 0xA00F11, Vmm.QEMU, 1)
        LoneVm.launched(VmMode.AUTHENTICATED, ovmf, shape, memory=memory).close()

    sizes = (RAM, GIB)
    found = interleave(max(3, lab.rounds.pages // 2), *(timed(lambda size=size: launch(size)) for size in sizes))  # type: ignore[misc]
    return [
        Row("vm", f"process, launch and end of a VM with {size >> 20} MiB", "ms", Stats.of_seconds(seconds))
        for size, seconds in zip(sizes, found, strict=True)
    ]
