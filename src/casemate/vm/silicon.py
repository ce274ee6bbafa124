"""The silicon of one VM: what the chip and the hypervisor can ask of it."""

import hashlib
import time
from collections.abc import Callable

from casemate.vm.alarm import Alarm
from casemate.vm.dram import Dram
from casemate.vm.errors import CommandError, RequestError
from casemate.vm.nested import NestedPageTable
from casemate.vm.page_cache import PageCache
from casemate.vm.page_cipher import AuthenticatedPages, PageCipher, TweakedPages
from casemate.vm.rmp import ReverseMapTable
from casemate.vm.vcpu.emulator import Emulator
from casemate.vm.vcpu.snp_instructions import SnpInstructions
from casemate.vm.vcpu.vcpu import Budget, Vcpus
from casemate.vm.vmsa_pages import VmsaPages
from casemate.wire.messages.snp_firmware import MAX_UPDATE_PAGES
from casemate.wire.messages.vm.hypervisor import MAX_COPY, MAX_RMP_ENTRIES, RmpEntry, RmpUpdate, VcpuExit, Vmrun
from casemate.wire.messages.vm.silicon import AddPages, PowerOn
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE, PageType

MAX_TOP = 1 << 32
"""Upper limit of guest physical addresses; the emulator's address space has room for twice that."""

MAX_RMP_GPA = 1 << 44
"""Guest physical addresses in the reverse map table are below it; a VMSA's may be above the guest's memory."""

_POLICY_DEBUG = 1 << 19
_MEASURED = (PageType.NORMAL, PageType.VMSA)
_EMPTY = bytes(PAGE_SIZE)


class VmSilicon:
    """Memory controller, reverse map table and vCPUs of one guest."""

    def __init__(self, power: PowerOn, descriptor: int) -> None:
        """Uses the DRAM file at ``descriptor``; :class:`RequestError` where the sizes are impossible."""
        if not (0 < power.top <= MAX_TOP and power.top % PAGE_SIZE == 0 and power.pages):
            raise RequestError(f"{power.pages} pages of DRAM, addresses to {power.top:#x}: that is no VM")
        self._mode = power.mode
        self._top = power.top
        self._debug = bool(power.policy & _POLICY_DEBUG)
        self._dram = Dram(descriptor, power.pages)
        self._nested = NestedPageTable()
        self._rmp = ReverseMapTable(power.pages) if power.mode.has_rmp else None
        self._cipher: PageCipher = (
            AuthenticatedPages(power.key, power.asid)
            if power.mode is VmMode.AUTHENTICATED
            else TweakedPages(power.key, power.tweak_key)
        )
        self._cache = PageCache(self._dram, self._nested, self._rmp, self._cipher, power.top)
        self._vmsas = VmsaPages(power.mode, self._dram, self._rmp, self._cipher)
        self._emulator = Emulator(self._cache)
        snp = None if self._rmp is None else SnpInstructions(self._nested, self._rmp, self._evict, self._cipher.forget)
        self._vcpus = Vcpus(power.mode, self._emulator, self._cache, self._vmsas, snp)
        self._finished = False

    @property
    def memory(self) -> int:
        """Bytes of address space mapped for the guest's memory; most of them are never used."""
        return len(self._cache.memory)

    @property
    def dram_size(self) -> int:
        return self._dram.size

    def stop(self) -> None:
        """Ends an emulation that is under way; to be called from another thread."""
        self._emulator.stop()

    # Called by the chip

    def add_pages(self, wanted: AddPages) -> bytes:
        """LAUNCH_UPDATE: hashes pages, encrypts them and assigns them to the guest.

        Returns the hashes, one after another.

        The bytes that are hashed are the ones that are encrypted, read once: the host can change DRAM in between.

        Raises:
            CommandError: no page was taken.
            DramError: the file was truncated meanwhile.
        """
        spas = self._launchable(wanted)
        contents = [
            _EMPTY if wanted.page_type is PageType.ZERO else wanted.content or self._dram.read(spa) for spa in spas
        ]
        perms = (wanted.vmpl1_perms, wanted.vmpl2_perms, wanted.vmpl3_perms)
        is_vmsa = wanted.page_type is PageType.VMSA
        for number, (spa, content) in enumerate(zip(spas, contents, strict=True)):
            if self._rmp is not None:
                self._rmp.take(spa, perms, vmsa=is_vmsa)
            if is_vmsa:
                self._vmsas.launch(spa, content)
            else:
                self._dram.write(spa, self._cipher.encrypt(spa, wanted.gpa + number * PAGE_SIZE, content))
        if wanted.page_type not in _MEASURED:
            return b""
        return b"".join(hashlib.sha384(content).digest() for content in contents)

    def read_page(self, spa: int) -> bytes:
        """The bytes of a page of DRAM; :class:`CommandError` where there is none."""
        self._check_spas("INVALID_ADDRESS", spa, 1)
        return self._dram.read(spa)

    def finish(self) -> None:
        """LAUNCH_FINISH: no page can be added any more."""
        self._finished = True

    # Called by the hypervisor

    def update_rmp(self, wanted: RmpUpdate) -> None:
        """RMPUPDATE; :class:`RequestError` where it fails."""
        if self._rmp is None:
            raise RequestError(f"mode {self._mode} has no reverse map table")
        self._check_request(wanted.spa, wanted.count * PAGE_SIZE, aligned=True)
        if wanted.assigned and (wanted.gpa % PAGE_SIZE or wanted.gpa + wanted.count * PAGE_SIZE > MAX_RMP_GPA):
            raise RequestError(f"GPA {wanted.gpa:#x} is no page, or beyond {MAX_RMP_GPA:#x}")
        gpa = wanted.gpa if wanted.assigned else None
        self._rmp.update(wanted.spa, wanted.count, gpa, immutable=wanted.immutable)

    def map_nested(self, gpa: int, spa: int | None, count: int) -> None:
        """Changes the nested page table; :class:`RequestError` where the addresses do not exist."""
        if gpa % PAGE_SIZE or gpa + count * PAGE_SIZE > self._top:
            raise RequestError(f"{count} pages at GPA {gpa:#x}: the guest's addresses end at {self._top:#x}")
        if spa is not None:
            self._check_request(spa, count * PAGE_SIZE, aligned=True)
        self._nested.map(gpa, spa, count)

    def host_store(self, spa: int, content: bytes) -> None:
        """A store by the host's CPU.

        Raises:
            RmpViolationError: it is the guest's page.
            RequestError: it is beyond DRAM.
            DramError: the file was cut short.
        """
        self._check_request(spa, len(content))
        if self._rmp is not None:
            self._rmp.check_host_store(spa, len(content))
        self._dram.write(spa, content)

    def host_load(self, spa: int, size: int) -> bytes:
        """A load by the host's CPU.

        As :meth:`host_store`, but every page may be read: as ciphertext where it is private.
        """
        self._check_request(spa, size)
        return self._dram.read(spa, size)

    def debug_load(self, gpa: int, size: int) -> bytes:
        """SNP_DBG_DECRYPT: plaintext of private memory.

        Raises:
            RequestError: the guest's policy does not allow it, or nothing is there.
            NestedFaultError, IntegrityError: as the guest would meet them.
        """
        self._check_debug()
        if not size or size > MAX_COPY or gpa + size > self._top:
            raise RequestError(f"{size} bytes at GPA {gpa:#x}: 1 to {MAX_COPY} bytes below {self._top:#x}")
        first = gpa & -PAGE_SIZE
        pages = [self._plaintext(page) for page in range(first, gpa + size, PAGE_SIZE)]
        return b"".join(pages)[gpa - first :][:size]

    def debug_registers(self, vmsa_spa: int) -> bytes:
        """The registers in a VMSA; as :meth:`debug_load`.

        Under plain SEV they are not encrypted, so every policy allows it.
        """
        if self._mode.has_encrypted_registers:
            self._check_debug()
        return self._vmsas.read(vmsa_spa).encode()

    def read_rmp(self, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """RMPREAD; :class:`RequestError` where there are no such pages."""
        if self._rmp is None:
            raise RequestError(f"mode {self._mode} has no reverse map table")
        if not 1 <= count <= MAX_RMP_ENTRIES:
            raise RequestError(f"{count} entries: 1 to {MAX_RMP_ENTRIES}")
        self._check_request(spa, count * PAGE_SIZE, aligned=True)
        return tuple(self._rmp.entries(spa, count))

    def run(self, wanted: Vmrun, alarm: Alarm, serve: Callable[[], bool]) -> VcpuExit:
        """VMRUN.

        Args:
            wanted: which vCPU, and its budget.
            alarm: over whatever ``serve`` hears.
            serve: answers what comes during the run; whether the run is to end.

        Raises:
            RequestError: the launch is not finished.
            DramError: the file was cut short.
        """
        if not self._finished:
            raise RequestError("the launch is not finished")
        budget = Budget(wanted.instructions, time.monotonic() + wanted.time_ms / 1000)
        with alarm.armed(budget.deadline):
            return self._vcpus.run(wanted.vmsa, budget, wanted.ghcb, alarm, serve)

    def _evict(self, spa: int) -> None:
        """Writes back and forgets a page whose state is about to change."""
        if self._cache.evict(spa):
            self._emulator.forget_translations()

    def _plaintext(self, gpa: int) -> bytes:
        spa = self._nested.spa(gpa)
        self._check_request(spa, PAGE_SIZE)
        if self._rmp is not None and self._rmp.gpa_of(spa) != gpa:
            raise RequestError(f"the page at GPA {gpa:#x} is not a private one")
        return self._cipher.decrypt(spa, gpa, self._dram.read(spa))

    def _launchable(self, wanted: AddPages) -> range:
        if self._finished:
            raise CommandError("INVALID_GUEST_STATE", "the launch is over")
        if not 1 <= wanted.count <= MAX_UPDATE_PAGES:
            raise CommandError("INVALID_LENGTH", f"{wanted.count} pages: 1 to {MAX_UPDATE_PAGES}")
        self._check_spas("INVALID_ADDRESS", wanted.spa, wanted.count)
        is_vmsa = wanted.page_type is PageType.VMSA
        if not is_vmsa and (wanted.gpa % PAGE_SIZE or wanted.gpa + wanted.count * PAGE_SIZE > self._top):
            raise CommandError("INVALID_ADDRESS", f"GPA {wanted.gpa:#x} is no page, or beyond {self._top:#x}")
        if wanted.content is not None and (len(wanted.content) != PAGE_SIZE or wanted.count != 1):
            raise CommandError("INVALID_LENGTH", "the firmware's own content is one page")
        spas = range(wanted.spa, wanted.spa + wanted.count * PAGE_SIZE, PAGE_SIZE)
        if self._rmp is not None:
            for number, spa in enumerate(spas):
                gpa = None if is_vmsa else wanted.gpa + number * PAGE_SIZE
                if not self._rmp.is_pre_guest(spa, gpa):
                    raise CommandError(
                        "INVALID_PAGE_STATE",
                        f"the page at SPA {spa:#x} is not pre-guest: RMPUPDATE it, assigned, immutable, at its GPA",
                    )
        return spas

    def _check_spas(self, status: str, spa: int, count: int) -> None:
        if spa % PAGE_SIZE or not self._dram.holds(spa, count * PAGE_SIZE):
            raise CommandError(status, f"{count} pages at SPA {spa:#x}: DRAM has {self._dram.size:#x} bytes")

    def _check_request(self, spa: int, size: int, *, aligned: bool = False) -> None:
        if (aligned and spa % PAGE_SIZE) or not size or not self._dram.holds(spa, size):
            raise RequestError(f"{size} bytes at SPA {spa:#x}: DRAM has {self._dram.size:#x} bytes")

    def _check_debug(self) -> None:
        if not self._debug:
            raise RequestError("the guest's policy does not allow debugging")
