"""Encryption of a guest's private pages on their way to DRAM, in two kinds.

SIMULATED: AMD does not publish the tweak of its AES-XEX. Here it is AES-256-XTS with the system physical address as
tweak, which has the properties that attacks use: deterministic, bound to the address, without integrity.
"""

import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from casemate.vm.errors import IntegrityError
from casemate.wire.snp.page_info import PAGE_SIZE

TAG_SIZE = 16
_ZEROS = bytes(PAGE_SIZE)
_NONCE_PAD = bytes(4)


class PageCipher(Protocol):
    """Encrypts pages from the cache to DRAM, and decrypts them on the way back."""

    def encrypt(self, spa: int, gpa: int, plaintext: bytes, /) -> bytes:
        """The ciphertext to store at ``spa`` for the guest's page ``gpa``."""

    def decrypt(self, spa: int, gpa: int, ciphertext: bytes, /) -> bytes:
        """The plaintext; :class:`IntegrityError` where the cipher detects that the guest did not write this."""

    def forget(self, gpa: int) -> None:
        """Called when a page becomes valid anew: earlier contents must not count any more."""


class TweakedPages:
    """AES-256-XTS, tweak from the system physical address: SEV, SEV-ES and SEV-SNP."""

    def __init__(self, key: bytes, tweak_key: bytes) -> None:
        """Takes two keys of 32 bytes, which must differ."""
        self._key = AES(key + tweak_key)

    def encrypt(self, spa: int, _gpa: int, plaintext: bytes, /) -> bytes:
        return Cipher(self._key, XTS(spa.to_bytes(16, "little"))).encryptor().update(plaintext)

    def decrypt(self, spa: int, _gpa: int, ciphertext: bytes, /) -> bytes:
        """The plaintext, or garbage where the ciphertext was changed or moved: nothing can tell."""
        return Cipher(self._key, XTS(spa.to_bytes(16, "little"))).decryptor().update(ciphertext)

    def forget(self, gpa: int) -> None:
        """Does nothing: this cipher keeps no state."""


class AuthenticatedPages:
    """AES-256-GCM with a key for each page, from the VM's key and the GPA.

    Tags and write counters stay in the controller.

    Associated data are VM, GPA and counter, and the counter is the nonce. So a page that was changed, moved or replayed
    does not decrypt. A page that the guest has not written since it became valid reads as zeros.

    SIMULATED: no SEV does this. Tags and counters are kept on the chip, which no real chip has the memory for.
    """

    def __init__(self, key: bytes, asid: int) -> None:
        """Takes the VM's key, 32 bytes."""
        self._key = key
        self._asid = asid.to_bytes(4, "little")
        self._written: dict[int, tuple[int, bytes]] = {}
        """Counter and tag by GPA."""
        self._counters: dict[int, int] = {}
        """Counters by GPA, kept when a page is forgotten: a nonce must never be used twice with a page's key."""

    def encrypt(self, _spa: int, gpa: int, plaintext: bytes, /) -> bytes:
        counter = (self._written[gpa][0] if gpa in self._written else self._counters.pop(gpa, 0)) + 1
        nonce = counter.to_bytes(8, "little") + _NONCE_PAD
        sealed = self._page_key(gpa).encrypt(nonce, plaintext, self._asid + gpa.to_bytes(8, "little") + nonce)
        self._written[gpa] = (counter, sealed[PAGE_SIZE:])
        return sealed[:PAGE_SIZE]

    def decrypt(self, _spa: int, gpa: int, ciphertext: bytes, /) -> bytes:
        """What the guest last wrote; :class:`IntegrityError` where DRAM holds anything else."""
        if gpa not in self._written:
            return _ZEROS
        counter, tag = self._written[gpa]
        nonce = counter.to_bytes(8, "little") + _NONCE_PAD
        associated = self._asid + gpa.to_bytes(8, "little") + nonce
        try:
            return self._page_key(gpa).decrypt(nonce, ciphertext + tag, associated)
        except InvalidTag:
            raise IntegrityError(gpa) from None

    def forget(self, gpa: int) -> None:
        """Has the page read as zeros until it is written again."""
        if gpa in self._written:
            self._counters[gpa] = self._written.pop(gpa)[0]

    def _page_key(self, gpa: int) -> AESGCM:
        return AESGCM(hashlib.blake2b(gpa.to_bytes(8, "little"), key=self._key, digest_size=32).digest())
