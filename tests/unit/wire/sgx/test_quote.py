from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.sgx.quote import (
    INTEL_QE_VENDOR_ID,
    AttestationKeyType,
    CertificationData,
    CertificationDataType,
    Quote,
    QuoteHeader,
    QuoteSignatureData,
    cut_padding,
)
from casemate.wire.sgx.report import ReportBody

BODY = ReportBody.parse(bytes(384))
QUOTE = Quote(
    header=QuoteHeader(3, AttestationKeyType.ECDSA_P256, 0, 10, 15, INTEL_QE_VENDOR_ID, bytes(20)),
    body=BODY,
    signature_data=QuoteSignatureData(
        signature=b"s" * 64,
        attestation_key=b"k" * 64,
        qe_report=BODY,
        qe_report_signature=b"q" * 64,
        qe_authentication_data=b"auth",
        certification_data=CertificationData(CertificationDataType.PCK_CHAIN, b"-----BEGIN CERTIFICATE-----"),
    ),
)
ENCODED = QUOTE.encode()

# Fields as the vectors' README states them, read by other tools.
README = {
    "sgx_v3_processor_ca.bin": {
        "mr_enclave": "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb",
        "mr_signer": "815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6",
        "attributes": "0500000000000000e700000000000000",
        "cpu_svn": "0b0b1a18ffff04000000000000000000",
        "report_data": b"Hello, world!".hex() + "00" * 51,
    },
    "sgx_v3_stale_crl.bin": {
        "mr_enclave": "6f90120b5c1f03619112eac855e29d6e0be4f35b2902aa169affff7719277ebc",
        "mr_signer": "83d719e77deaca1470f6baf62a4d774303c899db69020f9c70ee1dfc08c7ce9e",
        "attributes": "07000000000000000700000000000000",
        "cpu_svn": "13130b0501ff07000000000000000000",
        "report_data": "4159c17656ac1195cea0ae4bdb9733eb6e87143793a26a6e8fcf3940433fcb5f" + "00" * 32,
    },
    "sgx_v3_no_collateral.bin": {
        "mr_enclave": "f07830d7d2f8c67f64438303f3bc1a2e29f603ad1ab60ef94fd41d2bf7231866",
        "mr_signer": "c1c161d0dd996e8a9847de67ea2c00226761f7715a2c422d3012ac10795a1ef5",
        "attributes": "0500000000000000e700000000000000",
        "cpu_svn": "0a0c0f0effff00000000000000000000",
    },
}


@pytest.mark.parametrize("name", README)
def test_a_real_quote_has_the_fields_its_readme_states_and_its_own_encoding(vectors: Path, name: str) -> None:
    data = (vectors / "sgx" / name).read_bytes()
    quote = Quote.parse(data)
    assert quote.encode() == data
    for field, want in README[name].items():
        value = getattr(quote.body, field)
        assert (value.encode() if field == "attributes" else value).hex() == want
    chain = quote.signature_data.certification_data
    assert chain.kind == CertificationDataType.PCK_CHAIN
    assert chain.data.count(b"BEGIN CERTIFICATE") == 3
    assert quote.header.qe_vendor_id == INTEL_QE_VENDOR_ID


@pytest.mark.parametrize("name", README)
def test_spans_cover_every_byte_of_a_real_quote(vectors: Path, name: str) -> None:
    data = (vectors / "sgx" / name).read_bytes()
    spans = Quote.parse(data).spans()
    assert b"".join(span.cut(data) for span in spans) == data
    assert len({span.name for span in spans if "reserved" not in span.name}) == sum(
        "reserved" not in span.name for span in spans
    )


def test_a_quote_comes_back_as_it_was() -> None:
    assert Quote.parse(ENCODED) == QUOTE
    assert QUOTE.signed_bytes() == ENCODED[:432]


@given(st.binary(max_size=32), st.integers(0, len(ENCODED)), st.integers(0, 8))
def test_changed_bytes_are_another_quote_or_a_wire_error(inserted: bytes, at: int, cut: int) -> None:
    changed = ENCODED[:at] + inserted + ENCODED[at + cut :]
    try:
        quote = Quote.parse(changed)
    except WireError:
        return
    assert quote.encode() == changed


@given(st.binary(max_size=1200))
def test_random_bytes_are_a_quote_or_a_wire_error(data: bytes) -> None:
    for parse in (Quote.parse, QuoteSignatureData.parse, QuoteHeader.parse, CertificationData.parse):
        try:
            assert parse(data).encode() == data
        except WireError:
            continue


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [(0, 4, "version"), (2, 3, "attestation_key_type"), (2, 9, "attestation_key_type"), (4, 0x81, "tee_type")],
)
def test_refuses_another_version_algorithm_or_tee(at: int, value: int, field: str) -> None:
    with pytest.raises(WireError, match=field):
        Quote.parse(ENCODED[:at] + bytes((value,)) + ENCODED[at + 1 :])


def test_refuses_a_signature_length_that_leaves_bytes_over() -> None:
    length = int.from_bytes(ENCODED[432:436], "little")
    with pytest.raises(WireError, match=r"QUOTE is 1 bytes after its end"):
        Quote.parse(ENCODED + b"\x00")
    with pytest.raises(WireError, match=r"signature_data.*after its end"):
        Quote.parse(ENCODED[:432] + (length + 1).to_bytes(4, "little") + ENCODED[436:] + b"\x00")


def test_refuses_a_length_beyond_the_bytes() -> None:
    with pytest.raises(WireError, match=r"QUOTE\.signature_data"):
        Quote.parse(ENCODED[:432] + b"\xff\xff\xff\xff" + ENCODED[436:])


def test_refuses_an_unknown_kind_of_certification_data() -> None:
    data = replace(QUOTE.signature_data.certification_data).encode()
    with pytest.raises(WireError, match=r"certification_data\.type"):
        CertificationData.parse(b"\x09\x00" + data[2:])


@pytest.mark.parametrize("padding", [0, 1, 3000])
def test_padding_is_cut_by_the_quotes_own_lengths(padding: int) -> None:
    assert cut_padding(ENCODED + bytes(padding)) == ENCODED


def test_refuses_padding_that_is_not_zero() -> None:
    with pytest.raises(WireError, match="padding"):
        cut_padding(ENCODED + b"\x00\x01")
