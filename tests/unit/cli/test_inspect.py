import functools
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.command_line import Casemate

from casemate.cli.inspection.dispatch import Kind, inspect, recognise
from casemate.client.binding_file import encode_binding
from casemate.images.image import read_image
from casemate.testing.forge import honest
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.quote import Quote
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo


@pytest.fixture
def quote(now: datetime) -> bytes:
    return honest(now).sign().evidence.quote


def _covered(fields: list[dict[str, object]], size: int) -> bool:
    """Whether the fields are every byte once, in order."""
    at = 0
    for field in fields:
        assert field["offset"] == at
        at += field["size"]  # type: ignore[operator] # JSON
    return at == size


def test_a_quote_is_explained_to_its_last_byte(casemate: Casemate, tmp_path: Path, quote: bytes) -> None:
    path = tmp_path / "quote.bin"
    path.write_bytes(quote)
    found = casemate("inspect", path, "--json").json
    assert found["kind"] == "quote"
    assert _covered(found["fields"], len(quote))
    by_name = {field["name"]: field for field in found["fields"]}
    assert by_name["body.mr_enclave"]["hex"] == Quote.parse(quote).body.mr_enclave.hex()
    assert by_name["body.mr_enclave"]["offset"] == 112
    assert "38.15" in by_name["body.mr_enclave"]["source"]
    assert "SIMULATED" in found["facts"]["certificate 0"]


def test_a_person_sees_offset_size_bytes_meaning_and_source(casemate: Casemate, tmp_path: Path, quote: bytes) -> None:
    path = tmp_path / "quote.bin"
    path.write_bytes(quote)
    said = casemate("inspect", path, "--hex").out
    assert "2 ECDSA_P256  [0200]" in said
    assert "Intel SDM vol. 3D, 38.15 REPORT" in said
    assert "0x00030:" not in said
    assert Quote.parse(quote).body.report_data.hex(" ")[:95] in said


def test_padding_after_a_quote_is_said(quote: bytes) -> None:
    (found,) = inspect(quote + bytes(100), None)
    assert dict(found.facts)["padding"] == "100 zero bytes after the quote"


def test_real_quotes_are_explained(casemate: Casemate, vectors: Path) -> None:
    for path in sorted((vectors / "sgx").glob("*.bin")):
        assert casemate("inspect", path).code == 0, path
    for path in sorted((vectors / "sgx").glob("*.json")):
        assert casemate("inspect", path, "--json").json["kind"] == "collateral"


def test_binding_files_are_explained(casemate: Casemate, tmp_path: Path) -> None:
    layers = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),), ())
    binding = ReportDataBinding(bytes(32), b"r" * 32, b"n" * 32, layers)
    path = tmp_path / "quote.bin.binding.json"
    path.write_bytes(encode_binding(binding))
    found = casemate("inspect", path, "--json").json
    assert found["kind"] == "binding"
    assert found["facts"]["REPORTDATA"] == binding.report_data().hex()
    assert "layers.enclave.seccomp" in {field["name"] for field in found["fields"]}
    assert casemate("inspect", path, "--as", "binding").code == 0


def test_real_certificates_are_explained(casemate: Casemate, vectors: Path) -> None:
    found = casemate("inspect", vectors / "sgx" / "pck_processor_ca.pem", "--json").json
    by_name = {field["name"]: field for field in found["fields"]}
    assert by_name["FMSPC"]["meaning"] == "00906ed50000"
    assert by_name["PCESVN"]["meaning"] == "13"
    assert by_name["extension SGX extensions"]["source"].startswith("Intel SGX PCK Certificate")
    assert "simulated" not in found["facts"]


def test_every_certificate_of_a_chain_is_explained(casemate: Casemate, tmp_path: Path, quote: bytes) -> None:
    chain = Quote.parse(quote).signature_data.certification_data.data
    path = tmp_path / "chain.pem"
    path.write_bytes(chain)
    found = casemate("inspect", path, "--json").json["files"]
    assert [each["kind"] for each in found] == ["certificate"] * 3
    assert all(each["facts"]["simulated"].startswith("SIMULATED") for each in found)
    der = tmp_path / "leaf.der"
    der.write_bytes(parse_chain("chain", chain)[0].der)
    assert casemate("inspect", der, "--json").json == found[0]


@pytest.fixture
def fixed(quote: bytes) -> dict[Kind, bytes]:
    """One of each fixed structure."""
    body = Quote.parse(quote).body
    return {
        Kind.REPORT_BODY: body.encode(),
        Kind.REPORT: Report(body, bytes(32), bytes(16)).encode(),
        Kind.TARGETINFO: TargetInfo(
            body.mr_enclave, body.attributes, body.cet_attributes, 0, body.misc_select, bytes(64)
        ).encode(),
        Kind.KEYREQUEST: KeyRequest(
            KeyName.SEAL_KEY, KeyPolicy.MRSIGNER, 1, 0, bytes(16), ALL_ATTRIBUTES, bytes(32), 0, 0
        ).encode(),
    }


def test_fixed_structures_are_explained_whole(casemate: Casemate, tmp_path: Path, fixed: dict[Kind, bytes]) -> None:
    for kind, content in fixed.items():
        path = tmp_path / kind
        path.write_bytes(content)
        found = casemate("inspect", path, "--as", kind, "--json").json
        assert found["kind"] == kind
        assert _covered(found["fields"], len(content))


def test_structures_are_recognised_by_their_size(fixed: dict[Kind, bytes]) -> None:
    for kind, content in fixed.items():
        if kind is not Kind.KEYREQUEST:  # of one size with TARGETINFO
            assert recognise(content) is kind


def test_sizes_are_those_of_the_specification(fixed: dict[Kind, bytes]) -> None:
    assert {kind: len(content) for kind, content in fixed.items()} == {
        Kind.REPORT_BODY: 384,
        Kind.REPORT: 432,
        Kind.TARGETINFO: 512,
        Kind.KEYREQUEST: 512,
    }
    assert ReportBody.LAYOUT.size == 384


def test_an_image_is_explained_page_by_page_and_byte_by_byte(casemate: Casemate, hello: Path) -> None:
    casemate("build", hello)
    stream, image = hello / "hello.sgxs", read_image(hello)
    found = casemate("inspect", stream, "--json").json
    assert found["facts"]["MRENCLAVE"].startswith(image.mr_enclave.hex())
    assert any("guest/main.js, from byte 0" in field["meaning"] for field in found["fields"])
    every = casemate("inspect", stream, "--all", "--json").json
    assert _covered(every["fields"], len(image.sgxs))
    signed = casemate("inspect", hello / "hello.sigstruct", "--json").json
    assert signed["kind"] == "sigstruct"
    assert signed["facts"]["MRSIGNER"].startswith(image.mr_signer.hex())
    assert signed["facts"]["signature"].startswith("verifies")


def test_a_sigstruct_whose_signature_is_wrong_says_so(casemate: Casemate, hello: Path) -> None:
    casemate("build", hello)
    path = hello / "hello.sigstruct"
    content = bytearray(path.read_bytes())
    content[960] ^= 1  # ENCLAVEHASH
    path.write_bytes(content)
    assert casemate("inspect", path, "--json").json["facts"]["signature"].startswith("DOES NOT VERIFY")


def test_collateral_is_explained(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "collateral.json"
    path.write_bytes(honest(now).sign().collateral.encode())
    found = casemate("inspect", path, "--json").json
    assert found["kind"] == "collateral"
    assert any(field["meaning"].startswith("UpToDate") for field in found["fields"])


def test_reads_standard_input(
    casemate: Casemate, quote: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "quote.bin"
    path.write_bytes(quote)
    with path.open("rb") as file:
        monkeypatch.setattr("casemate.cli.files.STANDARD_INPUT_DESCRIPTOR", file.fileno())
        assert casemate("inspect", "-", "--json").json["kind"] == "quote"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"hello\x1b[2J", "9 bytes that begin with"),
        (b"\x00" * 5000, "5000 bytes"),
        (b"{", "no JSON"),
        (b"[]", "2 bytes"),
        (b"{}", "collateral"),
        (b'{"hpke_key":7}', "binding"),
        (b'{"format":"casemate-receipt"}', "receipt file"),
        (b"-----BEGIN CERTIFICATE-----", "certificate"),
        (b"\x30\x82\xff\xff" + bytes(500), "certificate"),
        (b"ECREATE\x00" + bytes(100), "ECREATE"),
        (b"\x04\x00\x02\x00" + bytes(4000), "version 4"),
    ],
)
def test_what_it_cannot_read_is_said(casemate: Casemate, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    found = casemate("inspect", path, "--json")
    assert found.code == 5
    assert said in found.error["message"]
    assert "\x1b" not in casemate("inspect", path).err


def test_an_unknown_file_names_what_can_be_read(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"junk")
    message = casemate("inspect", path, "--json").error["message"]
    assert all(kind in message for kind in Kind)


def test_a_file_of_a_gibibyte_is_refused_at_once(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert casemate("inspect", path).code == 5


def test_an_unknown_kind_is_wrong_usage(casemate: Casemate, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert casemate("inspect", tmp_path / "file", "--as", "nonsense").code == 2


@given(
    st.binary(max_size=2000)
    | st.sampled_from([384, 432, 512, 1808]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
)
def test_any_bytes_are_explained_or_refused(data: bytes) -> None:
    _explain_or_refuse(data, None)


@given(st.sampled_from(list(Kind)), st.binary(max_size=600))
def test_any_bytes_taken_for_anything_are_explained_or_refused(kind: Kind, data: bytes) -> None:
    _explain_or_refuse(data, kind)


@given(st.data())
def test_altered_certificates_are_explained_or_refused(data: st.DataObject) -> None:
    der = bytearray(data.draw(st.sampled_from(_certificates())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(der) - 1))
        der[at] = data.draw(st.integers(0, 255))
    _explain_or_refuse(bytes(der), None)
    _explain_or_refuse(encode_chain(bytes(der)), None)


@functools.cache
def _certificates() -> tuple[bytes, ...]:
    """Intel's root, and a PCK certificate with Intel's extension and the mark."""
    chain = Quote.parse(honest(datetime.now(UTC)).sign().evidence.quote).signature_data.certification_data.data
    return INTEL_SGX_ROOT_CA, parse_chain("chain", chain)[0].der


def _explain_or_refuse(data: bytes, kind: Kind | None) -> None:
    try:
        for found in inspect(data, kind):
            for field in found.fields:
                field.document()
    except CasemateError:
        pass
