import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from casemate.wire.errors import WireError
from casemate.wire.sgx.sigstruct import KEY_SIZE, Sigstruct, bcd_date, compute_q1_q2
from casemate.wire.sgx.sigstruct_signature import SigstructSignatureError, verify_sigstruct


@pytest.fixture(scope="module")
def real(vectors: Path) -> Sigstruct:
    return Sigstruct.parse((vectors / "sgx" / "sigstruct.bin").read_bytes())


def test_a_real_sigstruct_verifies_and_has_its_own_encoding(real: Sigstruct, vectors: Path) -> None:
    data = (vectors / "sgx" / "sigstruct.bin").read_bytes()
    verify_sigstruct(real)
    assert real.encode() == data
    assert real.enclave_hash.hex() == "c50673624a6cb17c1c6c2a4e6906f47a170c4629b8723781d1017ef376f1a75d"
    assert real.signed_bytes() == data[0:128] + data[900:1028]
    assert real.mr_signer() == hashlib.sha256(data[128:512]).digest()


@pytest.mark.parametrize("field", ["enclave_hash", "isv_prod_id", "isv_svn", "date", "attribute_mask", "misc_mask"])
def test_refuses_a_signed_field_that_was_changed(real: Sigstruct, field: str) -> None:
    others = {"enclave_hash": bytes(32), "attribute_mask": replace(real.attribute_mask, flags=0)}
    other = others.get(field, 7)
    with pytest.raises(SigstructSignatureError, match="does not verify"):
        verify_sigstruct(replace(real, **{field: other}))  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["q1", "q2"])
def test_refuses_quotients_that_are_not_the_signatures(real: Sigstruct, field: str) -> None:
    quotient = getattr(real, field)
    with pytest.raises(WireError, match=rf"SIGSTRUCT\.{field}"):
        verify_sigstruct(replace(real, **{field: bytes((quotient[0] ^ 1,)) + quotient[1:]}))


@pytest.mark.parametrize("modulus", [bytes(KEY_SIZE), b"\x01" + bytes(KEY_SIZE - 1)])
def test_refuses_a_modulus_that_is_not_above_the_signature(real: Sigstruct, modulus: bytes) -> None:
    with pytest.raises(WireError, match=r"SIGSTRUCT\.signature"):
        verify_sigstruct(replace(real, modulus=modulus))


@pytest.mark.parametrize(
    "modulus",
    [2, 1 << 2048 | 1, (1 << 3072) - 2, (1 << 3072) - 1],
    ids=["tiny", "short", "even", "odd but of no key"],
)
def test_refuses_a_modulus_that_nobody_would_sign_under(real: Sigstruct, modulus: int) -> None:
    signature = 1
    q1, q2 = compute_q1_q2(modulus, signature)
    forged = replace(
        real,
        modulus=modulus.to_bytes(KEY_SIZE, "little"),
        signature=signature.to_bytes(KEY_SIZE, "little"),
        q1=q1,
        q2=q2,
    )
    with pytest.raises(SigstructSignatureError):
        verify_sigstruct(forged)


def test_quotients_spare_the_division(real: Sigstruct) -> None:
    numbers = (real.modulus, real.signature, real.q1, real.q2)
    modulus, signature, q1, q2 = (int.from_bytes(raw, "little") for raw in numbers)
    remainder = signature * signature - q1 * modulus
    assert remainder * signature - q2 * modulus == pow(signature, 3, modulus)


def test_a_date_is_binary_coded_decimal() -> None:
    assert bcd_date(date(2024, 2, 29)) == 0x20240229
    assert bcd_date(date(1, 1, 1)) == 0x00010101


def test_a_date_is_shown_as_it_is_written(real: Sigstruct) -> None:
    assert Sigstruct.LAYOUT.span("date").render(real.encode()) == "20160109"
