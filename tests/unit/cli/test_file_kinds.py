"""Files of every kind, given to every argument: the right one works, any other is met with a sentence that helps."""

import base64
import gzip
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.command_line import Casemate
from tests.rigs.verifier.snp import strict

from casemate.cli.file_kinds import FileKind, recognise
from casemate.client.binding_file import encode_binding
from casemate.images.functions.starter import write_starter
from casemate.images.vm.builtin import firmware, sources
from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import (
    AllOfPolicy,
    AnyOfPolicy,
    ExpectedReportData,
    print_any_policy,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.release_list import Release, ReleaseList
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.runtime_lock import Record, RuntimeLock
from casemate.wire.sgx.quote import Quote

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Files:
    """A file of each kind, and what is right for `verify`."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    @property
    def quote(self) -> tuple[object, ...]:
        return ("verify", self["quote.bin"], "--collateral", self["collateral.json"], "--policy", self["policy.toml"])

    @property
    def report(self) -> tuple[object, ...]:
        return (
            *("verify", self["report.bin"], "--certificates", self["amd.pem"]),
            *("--revocation-list", self["amd.crl"], "--policy", self["snp.toml"]),
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("kinds")
    forgery = honest(NOW)
    forged = forgery.sign()
    quote = forged.evidence.quote
    bound = forged.evidence.bound
    assert bound is not None
    evidence, endorsements, root = honest_snp(NOW).sign()
    data = Quote.parse(quote).body.report_data
    sgx = replace(forged.policy, report_data=ExpectedReportData(data), layers="UNSAFE_ANY_SANDBOX")
    write_starter(folder / "starter")
    contents: dict[str, bytes] = {
        "quote.bin": quote,
        "quote.hex": quote.hex().encode() + b"\n",
        "quote.b64": base64.encodebytes(quote),
        "quote.b64url": base64.urlsafe_b64encode(quote).rstrip(b"="),
        "tdx.bin": b"\x04\x00\x02\x00\x81\x00\x00\x00" + bytes(700),
        "report.bin": evidence.report,
        "report.b64": base64.b64encode(evidence.report),
        "report.hex": b"0x" + evidence.report.hex().encode(),
        "hcl.bin": b"HCLA" + bytes(28) + evidence.report + bytes(20),
        "nitro.cbor": b"\x84\x44\xa1\x01\x38\x22\xa0" + bytes(100),
        "collateral.json": forged.collateral.encode(),
        "binding.json": encode_binding(
            ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
        ),
        "policy.toml": print_policy(sgx).encode(),
        "snp.toml": print_snp_policy(strict(root)).encode(),
        "amd.pem": encode_chain(endorsements.key_certificate) + endorsements.chain,
        "amd.crl": endorsements.revocation_list or b"",
        "root.pem": encode_chain(forged.root),
        "root.der": forged.root,
        "key.pem": b"-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n",
        "receipt.json": b'{"format": "casemate-receipt", "version": 2}',
        "releases.json": ReleaseList("hello", 1, (Release(bytes(32), bytes(48)),), bytes(64)).encode(),
        "tcb_info.json": b'{"tcbInfo":{"id":"SGX"},"signature":"00"}',
        "identity.json": b'{"enclaveIdentity":{"id":"QE"},"signature":"00"}',
        "other.json": b'{"a": 1}',
        "image.sgxs": b"ECREATE\x00" + bytes(56),
        "image.sgxs.b64": base64.b64encode(b"ECREATE\x00" + bytes(56)),
        "image.sigstruct": bytes.fromhex("06000000e10000000000010000000000") + bytes(1808 - 16),
        "guest.fd": firmware("hello"),
        "guest.s": sources("hello")[-1].text.encode(),
        "casemate.toml": (folder / "starter" / "casemate.toml").read_bytes(),
        "any.toml": print_any_policy(AnyOfPolicy((sgx, strict(root)))).encode(),
        "all.json": print_any_policy(AllOfPolicy((sgx, strict(root)), "ANY_CODE"), PolicyFormat.JSON).encode(),
        "casemate.lock": RuntimeLock((Record("core", "linux-x86_64-cp311", bytes(32)),)).encode(),
        "runtime.json": b'{"runtime": {"core_groups": {}}, "locks": []}',
        "failed.json": b'{"error": {"kind": "FolderError", "message": "no folder", "exit_code": 5}}',
        "quote.bin.gz": gzip.compress(quote),
        "policy.utf16": print_policy(sgx).encode("utf-16"),
        "empty": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Files(folder)


KINDS = {
    "quote.bin": FileKind.QUOTE,
    "quote.hex": FileKind.QUOTE,
    "quote.b64": FileKind.QUOTE,
    "quote.b64url": FileKind.QUOTE,
    "tdx.bin": FileKind.TDX_QUOTE,
    "report.bin": FileKind.SNP_REPORT,
    "report.b64": FileKind.SNP_REPORT,
    "report.hex": FileKind.SNP_REPORT,
    "hcl.bin": FileKind.HCL_REPORT,
    "nitro.cbor": FileKind.NITRO,
    "collateral.json": FileKind.COLLATERAL,
    "binding.json": FileKind.BINDING,
    "policy.toml": FileKind.SGX_POLICY,
    "snp.toml": FileKind.SNP_POLICY,
    "amd.pem": FileKind.CERTIFICATE,
    "amd.crl": FileKind.REVOCATION_LIST,
    "root.pem": FileKind.CERTIFICATE,
    "root.der": FileKind.CERTIFICATE,
    "key.pem": FileKind.PRIVATE_KEY,
    "receipt.json": FileKind.RECEIPT,
    "releases.json": FileKind.RELEASES,
    "tcb_info.json": FileKind.TCB_INFO,
    "identity.json": FileKind.QE_IDENTITY,
    "other.json": FileKind.JSON,
    "image.sgxs": FileKind.SGXS,
    "image.sgxs.b64": FileKind.SGXS,
    "image.sigstruct": FileKind.SIGSTRUCT,
    "guest.fd": FileKind.FIRMWARE,
    "guest.s": FileKind.ASSEMBLY,
    "casemate.toml": FileKind.MANIFEST,
    "any.toml": FileKind.COMPOSED_POLICY,
    "all.json": FileKind.COMPOSED_POLICY,
    "casemate.lock": FileKind.RUNTIME_LOCK,
    "runtime.json": FileKind.TOLD_RUNTIME,
    "failed.json": FileKind.FAILURE,
    "quote.bin.gz": FileKind.GZIP,
    "policy.utf16": FileKind.UTF_16,
    "empty": FileKind.EMPTY,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS)
def test_each_kind_is_recognised(made: Files, name: str, kind: FileKind) -> None:
    found = recognise(made[name].read_bytes())
    assert found is not None
    assert found.kind is kind
    assert bool(found.encoding) is name.endswith(("hex", "b64", "b64url"))


def test_text_is_not_taken_for_a_structure_of_its_size() -> None:
    """Three lines of a lock are as long as the body of a REPORT."""
    lock = RuntimeLock(tuple(Record("core", "linux-x86_64-cp311", bytes([at]) * 32) for at in range(2))).encode()
    found = recognise(lock)
    assert found is not None
    assert found.kind is FileKind.RUNTIME_LOCK
    assert recognise(b"words\n" * 64) is None
    body = recognise(bytes(len(lock) - 1) + b"x")
    assert body is not None
    assert body.kind is FileKind.REPORT_BODY


def test_real_files_are_recognised(vectors: Path) -> None:
    wanted = {
        "sgx/sgx_v3_*.bin": FileKind.QUOTE,
        "tdx/*.bin": FileKind.TDX_QUOTE,
        "snp/*.report.bin": FileKind.SNP_REPORT,
        "nitro/*.cbor": FileKind.NITRO,
        "*/*.collateral.json": FileKind.COLLATERAL,
        "sgx/sigstruct.bin": FileKind.SIGSTRUCT,
        "*/*.pem": FileKind.CERTIFICATE,
        "snp/*.der": FileKind.CERTIFICATE,
    }
    for pattern, kind in wanted.items():
        for path in vectors.glob(pattern):
            found = recognise(path.read_bytes())
            assert found is not None
            assert found.kind is kind, path.name


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_kind_or_none(data: bytes) -> None:
    recognise(data)
    recognise(data.hex().encode())
    recognise(base64.b64encode(data))


Arguments = Callable[[Files, Path], tuple[object, ...]]
DOORS: dict[str, tuple[Arguments, set[str]]] = {
    "verify QUOTE": (
        lambda files, given: ("verify", given, *files.quote[2:]),
        {"quote.bin", "quote.hex", "quote.b64", "quote.b64url"},
    ),
    "verify --collateral": (lambda files, given: (*files.quote[:3], given, *files.quote[4:]), {"collateral.json"}),
    "verify --policy": (lambda files, given: (*files.quote[:5], given), {"policy.toml", "any.toml"}),
    "verify --binding": (lambda files, given: (*files.quote, "--binding", given), {"binding.json"}),
    "verify REPORT": (
        lambda files, given: ("verify", given, *files.report[2:]),
        {"report.bin", "report.hex", "report.b64"},
    ),
    "verify --certificates": (lambda files, given: (*files.report[:3], given, *files.report[4:]), {"amd.pem"}),
    "verify --revocation-list": (lambda files, given: (*files.report[:5], given, *files.report[6:]), {"amd.crl"}),
    "verify --policy of a report": (lambda files, given: (*files.report[:7], given), {"snp.toml", "any.toml"}),
    "verify --ra-tls": (
        lambda files, given: ("verify", "--ra-tls", given, *files.quote[2:]),
        {"root.pem", "root.der", "amd.pem"},
    ),
    "policy IMAGE": (lambda files, given: ("policy", given, "--root", files["root.pem"]), set()),
    "measure": (lambda _, given: ("measure", given), set()),
    "measure --ovmf": (lambda _, given: ("measure", "--tee", "snp", "--ovmf", given), {"guest.fd"}),
    "diff": (lambda _, given: ("diff", given, given), set()),
    "receipt verify": (lambda files, given: ("receipt", "verify", given, "--policy", files["policy.toml"]), set()),
    "receipt show": (lambda _, given: ("receipt", "show", given), set()),
    "lock add --from": (lambda files, given: ("lock", "add", files["starter"], "--from", given), set()),
}
"""Every argument that takes a file of one kind, and the files that are right there."""
OF_IMAGES = ("policy IMAGE", "measure", "diff")
UNEXPLAINED = (
    *("tdx.bin", "nitro.cbor", "hcl.bin", "policy.toml", "snp.toml", "amd.crl", "key.pem"),
    *("tcb_info.json", "identity.json", "guest.fd", "guest.s", "casemate.toml", "empty"),
    *("quote.bin.gz", "policy.utf16", "any.toml", "all.json", "casemate.lock", "runtime.json", "failed.json"),
)


@pytest.mark.parametrize("door", DOORS)
def test_other_kinds_are_called_by_their_names_with_exit_code_5(casemate: Casemate, made: Files, door: str) -> None:
    """Some kinds at each door, others at the next."""
    at = list(DOORS).index(door)
    check_door(casemate, made, door, [*list(KINDS)[at % 5 :: 5], *sorted(DOORS[door][1])[:1]])


@pytest.mark.nightly("every kind of file given to every argument; `make test` gives one wrong kind to each")
@pytest.mark.parametrize("door", DOORS)
def test_every_other_kind_is_called_by_its_name_with_exit_code_5(casemate: Casemate, made: Files, door: str) -> None:
    check_door(casemate, made, door, list(KINDS))


def check_door(casemate: Casemate, made: Files, door: str, names: list[str]) -> None:
    arguments, right = DOORS[door]
    for name in names:
        kind = KINDS[name]
        said = casemate(*arguments(made, made[name]), "--json")
        if name in right:
            assert said.code in (0, 3), (name, said)
        elif kind is FileKind.EMPTY and door in ("verify QUOTE", "verify REPORT"):
            assert said.code == 3  # the rules say so
        elif name in ("image.sgxs", "image.sigstruct") and door in OF_IMAGES:
            assert said.code == 5  # of the right kind, and damaged
        elif name == "all.json" and "--policy" in door:
            assert said.code == 5  # for several pieces of evidence
            assert "pieces of evidence together" in said.error["message"]
        elif name == "receipt.json" and door.startswith("receipt"):
            assert said.code == 5
        else:
            assert said.code == 5, (name, said)
            message, following = said.error["message"], said.error["next"]
            words = ("a block of", "want three") if kind is FileKind.CERTIFICATE else ()
            assert any(word in message for word in (kind.value, *words)), (name, message)
            assert str(made[name]) in message
            assert following or kind is FileKind.JSON or "want three" in message, (name, message)


def test_text_of_evidence_is_decoded_and_that_is_said(casemate: Casemate, made: Files) -> None:
    for name in ("quote.hex", "quote.b64", "quote.b64url"):
        said = casemate("verify", made[name], *made.quote[2:])
        assert said.code == 0
        assert "decoded" in said.err
        assert casemate("inspect", made[name], "--json").json["kind"] == "quote"
    for name in ("report.hex", "report.b64"):
        said = casemate("verify", made[name], *made.report[2:])
        assert said.code == 0
        assert "decoded" in said.err
        assert casemate("inspect", made[name], "--json").json["kind"] == "snp-report"


def test_a_long_file_of_another_kind_is_recognised_by_its_start(
    casemate: Casemate, made: Files, tmp_path: Path
) -> None:
    image = tmp_path / "big.sgxs"
    image.write_bytes(b"ECREATE\x00" + bytes(3 << 20))
    for door, (arguments, _) in DOORS.items():
        said = casemate(*arguments(made, image), "--json")
        assert said.code == 5
        assert "SGXS" in said.error["message"] or door in OF_IMAGES


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_inspect_names_what_it_cannot_explain(casemate: Casemate, made: Files, name: str) -> None:
    said = casemate("inspect", made[name], "--json")
    assert said.code == 5
    assert KINDS[name].value in said.error["message"]
    assert said.error["next"]


def test_a_vm_is_not_launched_from_other_files(casemate: Casemate, made: Files) -> None:
    for name, words in (("image.sgxs", "--tee snp"), ("guest.s", "docs vm-guests"), ("report.bin", "verify")):
        said = casemate("vm", "launch", made[name], "--json")
        assert said.code == 5
        assert KINDS[name].value in said.error["message"]
        assert words in said.error["next"]


def test_the_commands_in_the_advice_are_quoted_for_a_shell(casemate: Casemate, made: Files, tmp_path: Path) -> None:
    odd = tmp_path / "my image; rm.sgxs"
    odd.write_bytes(made["image.sgxs"].read_bytes())
    said = casemate("verify", odd, *made.quote[2:], "--json")
    command = re.findall(r"`casemate (measure .+?)`", said.error["next"])[0]
    assert shlex.split(command) == ["measure", str(odd)]


@pytest.mark.parametrize(
    ("name", "right", "place"), [("quote.bin.gz", "quote.bin", 1), ("policy.utf16", "policy.toml", 5)]
)
def test_what_another_tool_wrapped_is_named_and_the_advice_unwraps_it(
    casemate: Casemate, made: Files, tmp_path: Path, name: str, right: str, place: int
) -> None:
    asked = list(made.quote)
    asked[place] = made[name]
    said = casemate(*asked, "--json")
    assert said.code == 5
    assert KINDS[name].value in said.error["message"]
    command = re.findall(r"`(\S.+?) > FILE`", said.error["next"])[0]
    unwrapped = subprocess.run(command, shell=True, capture_output=True, check=True).stdout  # noqa: S602 - the advice
    assert unwrapped == made[right].read_bytes()
    (tmp_path / right).write_bytes(unwrapped)
    asked[place] = tmp_path / right
    assert casemate(*asked).code == 0


def test_json_that_is_no_input_is_told_from_evidence(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"a":')
    said = casemate("call", "1", "rate", "--mr-enclave", "00" * 32, "--input", path, "--json")
    assert said.code == 5
    assert str(path) in said.error["message"]
    assert "inspect" not in said.error["next"]
    assert "JSON" in said.error["next"]


def test_an_empty_policy_is_called_that(casemate: Casemate, made: Files) -> None:
    said = casemate(*made.quote[:5], made["empty"], "--json")
    assert said.code == 5
    assert "an empty file" in said.error["message"]
    assert "failed" in said.error["next"]


def test_a_policy_may_have_a_byte_order_mark(casemate: Casemate, made: Files, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xef\xbb\xbf" + made["policy.toml"].read_bytes())
    assert casemate(*made.quote[:5], path).code == 0


def test_the_forged_files_are_good(casemate: Casemate, made: Files) -> None:
    assert casemate(*made.quote).code == 0
    assert casemate(*made.report).code == 0
    assert json.loads(made["collateral.json"].read_text())
