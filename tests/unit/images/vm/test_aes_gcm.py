"""The guests' AES-256-GCM against OpenSSL's."""

import random

import pytest
import unicorn
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from unicorn import x86_const as x86

from casemate.images.vm.assemble import assemble
from casemate.images.vm.builtin import sources

CODE, DATA, WORDS, STACK = 0xFFFF_0000, 0x20_0000, 0x30_0000, 0x40_0000
KEY, NONCE, TAG, AAD, INPUT, OUTPUT = (DATA + at for at in (0, 0x40, 0x80, 0x1000, 0x4000, 0x8000))
BOUNDARIES = (0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257, 1216, 4000)
OSFXSR = 1 << 9


class Routines:
    """`gcm_seal` and `gcm_open`, called as guests call them."""

    def __init__(self) -> None:
        (source,) = (source for source in sources("hello") if source.name == "aes_gcm.s")
        self.program = assemble([source], symbols={}, base=CODE)
        self.emulator = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.emulator.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)
        for address in (CODE, DATA, WORDS, STACK):
            self.emulator.mem_map(address, 0x1_0000)
        self.emulator.mem_write(CODE, self.program.content)
        self.emulator.reg_write(x86.UC_X86_REG_CR4, self.emulator.reg_read(x86.UC_X86_REG_CR4) | OSFXSR)

    def seal(self, key: bytes, nonce: bytes, aad: bytes, text: bytes, *, output: int = OUTPUT) -> bytes:
        self._call("gcm_seal", key, nonce, aad, text, output)
        return bytes(self.emulator.mem_read(output, len(text)) + self.emulator.mem_read(TAG, 16))

    def open(self, key: bytes, nonce: bytes, aad: bytes, sealed: bytes, *, output: int = OUTPUT) -> bytes | None:
        self.emulator.mem_write(TAG, sealed[-16:])
        fits = self._call("gcm_open", key, nonce, aad, sealed[:-16], output)
        return bytes(self.emulator.mem_read(output, len(sealed) - 16)) if fits else None

    def _call(self, name: str, key: bytes, nonce: bytes, aad: bytes, text: bytes, output: int) -> int:
        for address, content in ((KEY, key), (NONCE, nonce), (AAD, aad), (INPUT, text)):
            self.emulator.mem_write(address, content)
        words = (KEY, NONCE, AAD, len(aad), INPUT, output, len(text), TAG)
        self.emulator.mem_write(WORDS, b"".join(word.to_bytes(8, "little") for word in words))
        stack = STACK + 0xF000
        self.emulator.mem_write(stack, bytes(8))
        self.emulator.reg_write(x86.UC_X86_REG_RSP, stack)
        self.emulator.reg_write(x86.UC_X86_REG_RDI, WORDS)
        kept = (x86.UC_X86_REG_RBX, x86.UC_X86_REG_RBP, x86.UC_X86_REG_R12, x86.UC_X86_REG_R13, x86.UC_X86_REG_RDI)
        before = [self.emulator.reg_read(register) for register in kept]
        self.emulator.emu_start(self.program.labels[name], 0)
        assert [self.emulator.reg_read(register) for register in kept] == before
        return int(self.emulator.reg_read(x86.UC_X86_REG_RAX))


@pytest.fixture(scope="module")
def routines() -> Routines:
    return Routines()


def some(size: int, seed: object) -> bytes:
    return random.Random(str(seed)).randbytes(size)


@pytest.mark.parametrize("aad_size", [0, 1, 16, 17, 48])
@pytest.mark.parametrize("size", BOUNDARIES)
def test_seals_as_openssl_does(routines: Routines, size: int, aad_size: int) -> None:
    key, nonce, aad, text = some(32, size), some(12, "nonce"), some(aad_size, "aad"), some(size, "text")
    assert routines.seal(key, nonce, aad, text) == AESGCM(key).encrypt(nonce, text, aad)


@pytest.mark.parametrize("seed", range(30))
def test_opens_what_openssl_has_sealed(routines: Routines, seed: int) -> None:
    dice = random.Random(seed)
    key, nonce, aad, text = (dice.randbytes(size) for size in (32, 12, dice.randrange(100), dice.randrange(2000)))
    assert routines.open(key, nonce, aad, AESGCM(key).encrypt(nonce, text, aad)) == text


@pytest.mark.parametrize("where", ["text", "tag", "aad", "nonce", "key"])
def test_opens_nothing_that_was_changed_and_leaves_no_plaintext(routines: Routines, where: str) -> None:
    parts = {"key": some(32, 1), "nonce": some(12, 2), "aad": some(48, 3), "text": some(100, 4), "tag": b""}
    sealed = AESGCM(parts["key"]).encrypt(parts["nonce"], parts["text"], parts["aad"])
    parts |= {"text": sealed[:-16], "tag": sealed[-16:]}
    parts[where] = bytes([parts[where][0] ^ 1]) + parts[where][1:]
    routines.emulator.mem_write(OUTPUT, bytes(100))
    assert routines.open(parts["key"], parts["nonce"], parts["aad"], parts["text"] + parts["tag"]) is None
    assert not any(routines.emulator.mem_read(OUTPUT, 100))


def test_works_in_place(routines: Routines) -> None:
    key, nonce, text = some(32, 5), some(12, 6), some(333, 7)
    sealed = routines.seal(key, nonce, b"", text, output=INPUT)
    assert sealed == AESGCM(key).encrypt(nonce, text, b"")
    assert routines.open(key, nonce, b"", sealed, output=INPUT) == text


def test_leaves_no_round_keys_behind(routines: Routines) -> None:
    key = some(32, 8)
    routines.seal(key, some(12, 9), b"", b"text")
    assert key[:16] not in routines.emulator.mem_read(STACK, 0x1_0000)
