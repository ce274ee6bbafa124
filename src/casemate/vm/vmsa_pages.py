"""VMSA pages, which hold a vCPU's registers while it does not run, protected as each mode protects them."""

import hashlib

from casemate.vm.dram import Dram
from casemate.vm.errors import VmsaInvalidError
from casemate.vm.page_cipher import PageCipher
from casemate.vm.rmp import ReverseMapTable
from casemate.wire.errors import WireError
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE, VMSA_GPA
from casemate.wire.snp.vmsa import Vmsa


class VmsaPages:
    """Reads and writes registers by the SPA of their page.

    SEV: in the clear, so that the hypervisor can read and change them. SEV-ES: encrypted, with a digest of each in the
    controller, so that VMRUN refuses a changed one. SEV-SNP: encrypted, and the reverse map table keeps the host's CPU
    from storing to them; there is no digest, so a store on the memory bus is decrypted and used. ``authenticated``: as
    every private page.
    """

    def __init__(self, mode: VmMode, dram: Dram, rmp: ReverseMapTable | None, cipher: PageCipher) -> None:
        self._mode = mode
        self._dram = dram
        self._rmp = rmp
        self._cipher = cipher
        self._digests: dict[int, bytes] = {}
        """Digests by SPA, under SEV and SEV-ES; also the list of VMSAs, which SEV-SNP has in its reverse map table."""

    def launch(self, spa: int, content: bytes) -> None:
        """Stores a page of registers as it was measured."""
        self._write(spa, content)

    def read(self, spa: int) -> Vmsa:
        """The registers at ``spa``.

        Raises:
            VmsaInvalidError: there is no VMSA, or it was changed and the mode can detect that, or its registers make no
                sense.
            IntegrityError: it was changed, in ``authenticated``.
        """
        if spa % PAGE_SIZE or not self._dram.holds(spa) or not self._is_vmsa(spa):
            raise VmsaInvalidError(f"the page at SPA {spa:#x} is no VMSA of this guest's")
        content = self._dram.read(spa)
        if self._mode.has_encrypted_registers:
            content = self._cipher.decrypt(spa, self._gpa(spa), content)
        if self._mode is VmMode.SEV_ES and _digest(content) != self._digests[spa]:
            raise VmsaInvalidError(f"the VMSA at SPA {spa:#x} was changed since the vCPU left it")
        try:
            return Vmsa.parse(content)
        except WireError as error:
            raise VmsaInvalidError(f"the VMSA at SPA {spa:#x}: {error}") from None

    def write(self, spa: int, vmsa: Vmsa) -> None:
        """Stores the registers that a vCPU leaves."""
        self._write(spa, vmsa.encode())

    def _write(self, spa: int, content: bytes) -> None:
        if self._rmp is None:
            self._digests[spa] = _digest(content)
        if self._mode.has_encrypted_registers:
            content = self._cipher.encrypt(spa, self._gpa(spa), content)
        self._dram.write(spa, content)

    def _is_vmsa(self, spa: int) -> bool:
        return spa in self._digests if self._rmp is None else self._rmp.is_vmsa(spa)

    def _gpa(self, spa: int) -> int:
        gpa = None if self._rmp is None else self._rmp.gpa_of(spa)
        return VMSA_GPA if gpa is None else gpa


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
