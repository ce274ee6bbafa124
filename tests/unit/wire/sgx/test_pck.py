from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.sgx.pck import (
    SGX_EXTENSION_OID,
    PckConfiguration,
    PckExtension,
    PckPlatform,
    PckTcb,
    SgxType,
)

EXTENSION = PckExtension(
    ppid=bytes(range(16)),
    tcb=PckTcb(bytes((0, 1, 127, 128, 255, *bytes(11))), 0x8001, bytes(16)),
    pce_id=bytes(2),
    fmspc=bytes.fromhex("00906ed50000"),
    sgx_type=SgxType.SCALABLE_WITH_INTEGRITY,
    platform=PckPlatform(bytes(16), PckConfiguration(dynamic_platform=True, cached_keys=False, smt_enabled=True)),
)


def extension_of(path: Path) -> bytes:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    value = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(SGX_EXTENSION_OID)).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value


def test_reads_a_real_certificate_of_the_platform_ca(vectors: Path) -> None:
    data = extension_of(vectors / "sgx" / "pck_platform_ca.pem")
    extension = PckExtension.parse(data)
    assert extension.encode() == data
    assert extension.fmspc.hex() == "30606a000000"
    assert extension.tcb.pce_svn == 11
    assert extension.tcb.components.hex() == "04040303ffff00000000000000000000"
    assert extension.sgx_type is SgxType.SCALABLE
    assert extension.platform is not None
    assert extension.platform.configuration == PckConfiguration(
        dynamic_platform=True, cached_keys=False, smt_enabled=True
    )


def test_reads_a_real_certificate_of_the_processor_ca(vectors: Path) -> None:
    data = extension_of(vectors / "sgx" / "pck_processor_ca.pem")
    extension = PckExtension.parse(data)
    assert extension.encode() == data
    assert extension.fmspc.hex() == "00906ed50000"
    assert extension.tcb.components[5] == 128
    assert extension.sgx_type is SgxType.STANDARD
    assert extension.platform is None


@pytest.mark.parametrize("extension", [EXTENSION, replace(EXTENSION, platform=None)])
def test_round_trips(extension: PckExtension) -> None:
    assert PckExtension.parse(extension.encode()) == extension


def test_refuses_every_shortened_and_lengthened_extension() -> None:
    data = EXTENSION.encode()
    for end in range(len(data)):
        with pytest.raises(WireError):
            PckExtension.parse(data[:end])
    with pytest.raises(WireError):
        PckExtension.parse(data + b"\x00")


@pytest.mark.parametrize("number", [3, 255])
def test_refuses_unknown_platform_types(number: int) -> None:
    data = EXTENSION.encode()
    honest = bytes.fromhex("0a0102")
    assert data.count(honest) == 1
    changed = data.replace(honest, bytes((0x0A, 1, number)))
    with pytest.raises(WireError, match="sgx_type"):
        PckExtension.parse(changed)


def test_refuses_elements_in_another_order() -> None:
    swapped = EXTENSION.encode().replace(b"\x0d\x01\x03", b"\x0d\x01\x09").replace(b"\x0d\x01\x04", b"\x0d\x01\x03")
    with pytest.raises(WireError, match="OID"):
        PckExtension.parse(swapped)


@given(st.binary(max_size=200))
def test_random_bytes_give_an_extension_or_a_wire_error(data: bytes) -> None:
    try:
        extension = PckExtension.parse(data)
    except WireError:
        return
    assert extension.encode() == data


@given(st.data())
def test_damaged_extensions_give_an_extension_or_a_wire_error(data: st.DataObject) -> None:
    good = bytearray(EXTENSION.encode())
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    try:
        extension = PckExtension.parse(bytes(good))
    except WireError:
        return
    assert extension.encode() == bytes(good)
