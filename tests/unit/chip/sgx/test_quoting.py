import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dcap_qvl
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificates

from casemate.chip.crypto import SigningKey
from casemate.chip.errors import CertificationError, LeafError, ReportRefusedError
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.provisioning import CHAIN_FILE
from casemate.chip.sgx.quoting import AUTHENTICATION_DATA
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB, Tcb, load_tcb
from casemate.makers.intel.keys import KeyRole
from casemate.makers.intel.ledger import Ca
from casemate.makers.intel.maker import IntelMaker, PckRequest, issue_pck, new_maker, publish_collateral
from casemate.wire.messages.supervisor import Certify
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.quote import Quote
from casemate.wire.sgx.report import Report

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NEWER = Tcb(bytes((8, 8, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn)
DATA = bytes(range(64))


def certify(platform: SgxPlatform, maker: IntelMaker) -> IntelMaker:
    """The maker and the supervisor, in one."""
    request = platform.certification_request
    assert isinstance(request, Certify)
    maker, chain, _ = issue_pck(
        maker,
        PckRequest(
            public_key=request.public_key, ppid=request.ppid, cpu_svn=request.cpu_svn, pce_svn=request.pce_svn,
            pce_id=request.pce_id.to_bytes(2), fmspc=request.fmspc, ca=Ca.PLATFORM, seeded=request.seeded,
        ),
        NOW,
    )  # fmt: skip
    platform.certified(chain)
    return maker


@pytest.fixture
def maker() -> IntelMaker:
    return new_maker("vendor", NOW)


@pytest.fixture
def platform(tmp_path: Path, fuses: Fuses, maker: IntelMaker) -> SgxPlatform:
    made = SgxPlatform(tmp_path, fuses, FIRST_TCB)
    certify(made, maker)
    return made


@pytest.fixture
def enclave(secs: Secs) -> Secs:
    """Verifiers refuse KSS-less CET and the like only by policy; a plain production enclave."""
    plain = Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3)
    return replace(
        secs, attributes=plain, misc_select=MiscSelect(0), cet_attributes=CetAttributes(0), config_svn=0,
        config_id=bytes(64), isv_family_id=bytes(16), isv_ext_prod_id=bytes(16),
    )  # fmt: skip


@pytest.fixture
def report(platform: SgxPlatform, enclave: Secs) -> Report:
    return platform.ereport(enclave, platform.quote_target, DATA)


def check_p256(public_key: bytes, signature: bytes, message: bytes) -> None:
    point = EllipticCurvePublicNumbers(int.from_bytes(public_key[:32]), int.from_bytes(public_key[32:]), SECP256R1())
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    point.public_key().verify(der, message, ECDSA(SHA256()))


def test_quote_holds_together_by_hand(platform: SgxPlatform, report: Report, enclave: Secs) -> None:
    """Each signature and binding recomputed here, from offsets."""
    quote = platform.quoting.quote(report)
    parsed = Quote.parse(quote)
    signed = parsed.signature_data
    assert (parsed.body.mr_enclave, parsed.body.report_data) == (enclave.mr_enclave, DATA)
    check_p256(signed.attestation_key, signed.signature, quote[:432])
    bound = hashlib.sha256(signed.attestation_key + AUTHENTICATION_DATA).digest()
    assert signed.qe_report.report_data == bound + bytes(32)
    leaf, ca, root = load_pem_x509_certificates(signed.certification_data.data)
    pck = leaf.public_key().public_numbers()  # type: ignore[union-attr] # P-256
    point = pck.x.to_bytes(32) + pck.y.to_bytes(32)  # type: ignore[union-attr]
    check_p256(point, signed.qe_report_signature, quote[436 + 128 : 436 + 128 + 384])
    leaf.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(root)
    with pytest.raises(InvalidSignature):
        check_p256(signed.attestation_key, signed.signature, quote[:431] + b"\x00")


def test_independent_verifier_takes_it_and_its_claims_are_the_enclaves(
    platform: SgxPlatform, report: Report, enclave: Secs, maker: IntelMaker
) -> None:
    collateral = publish_collateral(maker, Ca.PLATFORM, NOW)
    verified = dcap_qvl.verify_with_root_ca(
        platform.quoting.quote(report),
        dcap_qvl.QuoteCollateralV3.from_json(collateral.encode().decode()),
        maker.certificates[KeyRole.ROOT],
        int(NOW.timestamp()),
    )
    claims = json.loads(verified.to_json())
    assert claims["status"] == "UpToDate"
    assert enclave.mr_enclave.hex() in json.dumps(claims)


@pytest.mark.parametrize(
    "forge",
    [
        lambda report: replace(report, body=replace(report.body, mr_enclave=bytes(32))),
        lambda report: replace(report, body=replace(report.body, report_data=bytes(64))),
        lambda report: replace(report, mac=bytes(16)),
        lambda report: replace(report, key_id=bytes(32)),
    ],
)
def test_refuses_to_quote_a_forged_report(
    platform: SgxPlatform, report: Report, forge: Callable[[Report], Report]
) -> None:
    with pytest.raises(ReportRefusedError, match="MAC"):
        platform.quoting.quote(forge(report))


def test_refuses_to_quote_a_report_for_somebody_else(platform: SgxPlatform, enclave: Secs) -> None:
    with pytest.raises(ReportRefusedError, match="another enclave"):
        platform.quoting.quote(platform.ereport(enclave, enclave.target_info(), DATA))


def test_refuses_to_quote_for_another_chip(platform: SgxPlatform, tmp_path: Path, enclave: Secs) -> None:
    other = SgxPlatform(tmp_path / "other", seeded_fuses("another"), FIRST_TCB)
    with pytest.raises(ReportRefusedError, match="another chip"):
        platform.quoting.quote(other.ereport(enclave, other.quote_target, DATA))


def test_seeded_machine_makes_the_same_quote_each_time(
    platform: SgxPlatform, tmp_path: Path, fuses: Fuses, maker: IntelMaker, enclave: Secs
) -> None:
    (tmp_path / "twin").mkdir()
    twin = SgxPlatform(tmp_path / "twin", fuses, FIRST_TCB)
    certify(twin, maker)
    one, other = (of.quoting.quote(of.ereport(enclave, of.quote_target, DATA)) for of in (platform, twin))
    assert one == other


def test_restart_keeps_attestation_key_and_asks_nobody(
    platform: SgxPlatform, report: Report, tmp_path: Path, fuses: Fuses
) -> None:
    again = SgxPlatform(tmp_path, fuses, FIRST_TCB)
    assert again.certification_request is None
    before = Quote.parse(platform.quoting.quote(report)).signature_data
    after = Quote.parse(again.quoting.quote(report)).signature_data
    assert after.attestation_key == before.attestation_key
    assert after.certification_data == before.certification_data


def test_two_chips_share_no_key(tmp_path: Path) -> None:
    requests = [SgxPlatform(tmp_path, seeded_fuses(seed), FIRST_TCB).certification_request for seed in "ab"]
    one, other = (request for request in requests if request is not None)
    assert one.public_key != other.public_key
    assert one.ppid != other.ppid


def test_random_chip_takes_a_new_report_key_id_at_each_power_on(tmp_path: Path, fuses: Fuses, enclave: Secs) -> None:
    def key_id(of: Fuses) -> bytes:
        platform = SgxPlatform(tmp_path, of, FIRST_TCB)
        return platform.ereport(enclave, platform.quote_target, DATA).key_id

    assert key_id(fuses) == key_id(fuses)
    unseeded = replace(fuses, seeded=False)
    assert key_id(unseeded) != key_id(unseeded)


class TestMicrocodeUpdate:
    def test_changes_pck_and_attestation_key_but_not_the_ppid(
        self, platform: SgxPlatform, tmp_path: Path, enclave: Secs
    ) -> None:
        ppid = platform.ppid
        old_report = platform.ereport(enclave, platform.quote_target, DATA)
        old = Quote.parse(platform.quoting.quote(old_report)).signature_data
        platform.update(NEWER)
        assert load_tcb(tmp_path) == NEWER
        with pytest.raises(CertificationError, match="not certified"):
            _ = platform.quoting
        request = platform.certification_request
        assert request is not None
        assert (request.cpu_svn, request.ppid) == (NEWER.cpu_svn, ppid)
        assert request.public_key[1:] not in old.certification_data.data
        with pytest.raises(CertificationError, match="another key"):
            platform.certified(old.certification_data.data)

    def test_certified_again_it_quotes_at_the_new_tcb(
        self, platform: SgxPlatform, maker: IntelMaker, enclave: Secs
    ) -> None:
        old_report = platform.ereport(enclave, platform.quote_target, DATA)
        old = Quote.parse(platform.quoting.quote(old_report)).signature_data
        platform.update(NEWER)
        newer = replace(maker.ledger.tcb_levels[0], components=NEWER.cpu_svn)
        levels = (newer, *maker.ledger.tcb_levels)
        certify(platform, replace(maker, ledger=replace(maker.ledger, tcb_levels=levels)))
        with pytest.raises(ReportRefusedError, match="microcode update"):
            platform.quoting.quote(old_report)
        quote = Quote.parse(platform.quoting.quote(platform.ereport(enclave, platform.quote_target, DATA)))
        assert quote.body.cpu_svn == NEWER.cpu_svn
        assert quote.signature_data.attestation_key != old.attestation_key

    def test_same_tcb_again_changes_nothing(self, platform: SgxPlatform) -> None:
        platform.update(FIRST_TCB)
        assert platform.certification_request is None

    def test_step_back_is_refused(self, platform: SgxPlatform) -> None:
        platform.update(NEWER)
        with pytest.raises(LeafError, match="SGX_NO_UPDATE"):
            platform.update(FIRST_TCB)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_damaged_chain_on_disk_is_asked_for_again(
    platform: SgxPlatform, tmp_path: Path, fuses: Fuses, content: bytes
) -> None:
    assert platform.certification_request is None
    (tmp_path / CHAIN_FILE).write_bytes(content)
    assert SgxPlatform(tmp_path, fuses, FIRST_TCB).certification_request is not None


def test_chain_of_nonsense_is_refused(platform: SgxPlatform) -> None:
    with pytest.raises(CertificationError):
        platform.certified(b"nonsense")


def test_quote_costs_little_more_than_its_signature(platform: SgxPlatform, report: Report, fuses: Fuses) -> None:
    """Target: under 2 ms more. Medians, so that a busy machine does not decide."""
    key = SigningKey.derived(fuses.root_seal_key, b"any")

    def median(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(51):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        return sorted(taken)[25]

    assert median(lambda: platform.quoting.quote(report)) - median(lambda: key.sign(bytes(432))) < 0.002
