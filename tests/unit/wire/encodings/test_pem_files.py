"""PEM as people keep it: with text around the blocks, of which the strict reader of evidence takes none."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.pem import (
    MAX_CERTIFICATE,
    MAX_CERTIFICATES,
    encode_chain,
    parse_chain,
    read_certificates,
    read_revocation_list,
)
from casemate.wire.errors import WireError

ONE, TWO = encode_chain(b"one"), encode_chain(b"two")
CRL = ONE.replace(b"CERTIFICATE", b"X509 CRL")
SECRET = b"c2VjcmV0IGtleSBtYXRlcmlhbA=="
KEY = b"-----BEGIN EC PRIVATE KEY-----\n" + SECRET + b"\n-----END EC PRIVATE KEY-----\n"
S_CLIENT = (
    b"CONNECTED(00000003)\ndepth=1 CN = CA\nverify return:1\n---\nCertificate chain\n 0 s:CN = leaf\n   i:CN = CA\n"
    + ONE
    + b" 1 s:CN = CA\n   i:CN = CA\n"
    + TWO
    + b"---\nServer certificate\nsubject=CN = leaf\nSSL handshake has read 2 bytes\n    Session-ID: \n---\n"
)
X509_TEXT = b"Certificate:\n    Data:\n        Version: 3 (0x2)\n    Signature Value:\n        30:45:02\n" + ONE
AROUND = {
    "as it is": ONE + TWO,
    "a comment before": b"# SEV-VCEK\n" + ONE + b"# ASK\n" + TWO,
    "text after": ONE + TWO + b"that is all\n",
    "openssl s_client -showcerts": S_CLIENT,
    "openssl x509 -text, twice": X509_TEXT + X509_TEXT.replace(ONE, TWO),
    "Windows line ends": (b"# a comment\n" + ONE + TWO).replace(b"\n", b"\r\n"),
    "old Macintosh line ends": (ONE + TWO).replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + ONE + TWO,
    "indented, as in YAML": b"".join(b"    " + line + b"\n" for line in (ONE + TWO).splitlines()),
    "an older label": (ONE + TWO).replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
    "a trailing NUL": ONE + TWO + b"\x00",
    "zero padding between": ONE + b"\x00\x00" + TWO + bytes(100),
    "put together without a line end": ONE.rstrip() + TWO,
    "no line end at the end": (ONE + TWO).rstrip(),
    "Latin-1 in a comment": b"# caf\xe9\n" + ONE + TWO,
    "a boundary within a line": b"see -----BEGIN CERTIFICATE----- below\n" + ONE + TWO,
}


@pytest.mark.parametrize("text", AROUND.values(), ids=AROUND)
def test_takes_certificates_with_text_around_them(text: bytes) -> None:
    assert read_certificates("file", text) == (b"one", b"two")


def test_evidence_has_no_text_around_its_certificates() -> None:
    with pytest.raises(WireError):
        parse_chain("chain", AROUND["a comment before"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "no certificate"),
        (b"\x00", "no certificate"),
        (b"nothing of the kind", "no certificate"),
        (ONE[:-20], "without its end"),
        (ONE + TWO[:-2], "without its end"),
        (ONE.replace(b"b25l", b"b2*l"), "no base64"),
        (ONE.replace(b"b25l", b""), "of 0 bytes"),
        (ONE.replace(b"-----END", b"# a comment\n-----END"), "no base64"),
        (ONE.replace(b"END CERTIFICATE", b"END X509 CRL"), "without its end"),
        (ONE * (MAX_CERTIFICATES + 1), "more than"),
        (encode_chain(bytes(MAX_CERTIFICATE + 1)), "of 16385 bytes"),
        (ONE + CRL, "a block of X509 CRL"),
        (ONE.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "a block of TRUSTED CERTIFICATE"),
        (ONE.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), "a block of CERTIFICATE REQUEST"),
        (ONE.decode().encode("utf-16"), "UTF-16"),
    ],
)
def test_refuses_with_a_reason(text: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        read_certificates("file", text)


@pytest.mark.parametrize("text", [KEY, KEY + ONE, ONE + KEY, ONE + KEY.replace(b"EC ", b""), b"# mine\n" + ONE + KEY])
def test_a_private_key_is_refused_and_nothing_of_it_is_told(text: bytes) -> None:
    with pytest.raises(WireError, match="private key") as refused:
        read_certificates("file", text)
    assert SECRET.decode() not in str(refused.value)


def test_der_is_taken_as_it_is_but_for_zeros_behind_it() -> None:
    for der in (b"\x30\x81\x80" + b"a" * 128, b"\x30\x82\x01\x00" + bytes(range(256))):
        assert read_certificates("file", der) == (der,)
        assert read_certificates("file", der + bytes(10)) == (der,)
        assert read_certificates("file", der + b"\x00\x01") == (der + b"\x00\x01",)
    for odd in (b"\x30\x84\xff\xff\xff\xff", b"\x30\xff", b"\x30\x81"):
        assert read_certificates("file", odd) == (odd,)
    for text in (b"\x30", b"\x30\x80", b"0123"):
        with pytest.raises(WireError, match="no certificate"):
            read_certificates("file", text)


def test_a_revocation_list_comes_in_der_or_pem() -> None:
    assert read_revocation_list("list", b"\x30\x81\x01a\x00", limit=10) == b"\x30\x81\x01a"
    assert read_revocation_list("list", b"Certificate Revocation List (CRL):\n" + CRL, limit=10) == b"one"
    for text, complaint in (
        (CRL * 2, "2 revocation lists"),
        (ONE, "block of CERTIFICATE"),
        (b"", "no revocation list"),
    ):
        with pytest.raises(WireError, match=complaint):
            read_revocation_list("list", text, limit=10)
    with pytest.raises(WireError, match="of 3 bytes"):
        read_revocation_list("list", CRL, limit=2)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=MAX_CERTIFICATES), st.text(max_size=40))
def test_any_certificates_are_read_again_from_among_any_text(ders: list[bytes], words: str) -> None:
    comment = f"\n{words.replace('-----BEGIN', '')}\n".encode()
    assert read_certificates("file", comment + comment.join(encode_chain(der) for der in ders) + comment) == tuple(ders)


@given(st.binary(max_size=200), st.integers(0, len(ONE)))
def test_damaged_text_gives_certificates_or_a_wire_error(junk: bytes, at: int) -> None:
    try:
        read_certificates("file", ONE[:at] + junk + ONE[at:])
    except WireError:
        return


@pytest.mark.parametrize(
    "unit",
    [
        b"-----BEGIN CERTIFICATE-----",
        b"\n-----BEGIN ",
        b"\n" + b" " * 30,
        b"\n-----BEGIN CERTIFICATE",
        b"\r\n",
        b"\n\xef\xbb\xbf",
        b"-",
    ],
)
def test_the_cost_is_linear_whatever_the_text_is(unit: bytes) -> None:
    def cost(size: int) -> float:
        text = unit * (size // len(unit))
        best = float("inf")
        for _ in range(5):
            start = time.process_time()
            with pytest.raises(WireError):
                read_certificates("file", text)
            best = min(best, time.process_time() - start)
        return best

    assert cost(1 << 20) < 16 * cost(1 << 18) + 0.01
