"""Reports of a simulated maker before virtee's `sev` crate, on which snpguest stands: chain, signature, values.

It checks no dates, no revocation, and nothing of what a report says; of a key's certificate it takes any extension.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.rigs.independent_verifiers import Ask

from casemate.testing.forge import honest
from casemate.testing.forge_snp import ForgedSnp, honest_snp
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.protocol.simulated_mark import EARLIER_SIMULATED_OID
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import PARTS, Product, TcbVersion

pytestmark = [
    pytest.mark.nightly("building the crate takes minutes"),
]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
KINDS = [SigningKey.VCEK, SigningKey.VLEK]


def question(forged: ForgedSnp, **other: str) -> dict[str, Any]:
    evidence, given, _ = forged.sign()
    ask, ark = (block.der for block in parse_chain("chain", given.chain))
    return {
        "report": evidence.report.hex(),
        "key": given.key_certificate.hex(),
        "ask": ask.hex(),
        "ark": ark.hex(),
    } | other


def tcb_of(product: Product, raw: bytes) -> dict[str, int | None]:
    parts = {part: getattr(TcbVersion.parse(product, raw), part) for part in PARTS[product]}
    return {"fmc": None} | parts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("product", Product)
def test_they_accept_the_honest_report_and_read_what_we_wrote(
    sev_crate: Ask, product: Product, kind: SigningKey
) -> None:
    forged = honest_snp(NOW, product, kind)
    report = forged.report
    assert sev_crate(question(forged)) == {
        "refused": "",
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": report.policy,
        "vmpl": report.vmpl,
        "measurement": report.measurement.hex(),
        "report_data": report.report_data.hex(),
        "host_data": report.host_data.hex(),
        "chip_id": report.chip_id.hex(),
        **{
            name: tcb_of(product, getattr(report, name))
            for name in ("reported_tcb", "committed_tcb", "launch_tcb", "current_tcb")
        },
        "launch_mitigations": report.launch_mitigations,
        "current_mitigations": report.current_mitigations,
    }


def test_they_take_the_mark_on_the_keys_certificate(sev_crate: Ask) -> None:
    assert sev_crate(question(replace(honest_snp(NOW), marked=(True, True, True))))["refused"] == ""


def test_they_refuse_the_mark_as_it_was_before(sev_crate: Ask) -> None:
    """RustCrypto reads no arc of 31 bits; makers from a public seed still write it, for their roots' digests' sake."""
    earlier = replace(honest_snp(NOW), mark_oid=EARLIER_SIMULATED_OID)
    assert "malformed OID" in sev_crate(question(earlier))["refused"]


@pytest.mark.parametrize("product", Product)
def test_no_field_can_be_changed(sev_crate: Ask, product: Product) -> None:
    forged = honest_snp(NOW, product)
    honest = question(forged)
    for span in forged.report.spans():
        if span.name == "reserved":
            continue  # they write the report anew before they check its signature
        changed = bytearray.fromhex(honest["report"])
        changed[span.offset] ^= 1
        assert sev_crate(honest | {"report": changed.hex()})["refused"], span.name


def test_rustcrypto_reads_the_certificates_of_sgx(sev_crate: Ask) -> None:
    """By the crate's parser, x509-cert, which others use for quotes."""
    forgery = honest(NOW)
    for draft in (forgery.pck, forgery.pck_ca, forgery.root, forgery.tcb_signing):
        assert sev_crate({"certificate": draft.sign().hex()})["refused"] == ""
    forgery.pck_ca.mark(oid=EARLIER_SIMULATED_OID)
    assert "malformed OID" in sev_crate({"certificate": forgery.pck_ca.sign().hex()})["refused"]


def test_a_chain_with_another_key_in_it_is_refused(sev_crate: Ask) -> None:
    forged = honest_snp(NOW)
    honest = question(forged)
    for name in ("key", "ask", "ark"):
        changed = bytearray.fromhex(honest[name])
        changed[-1] ^= 1
        assert "does not RSA sign" in sev_crate(honest | {name: changed.hex()})["refused"], name
    assert sev_crate(honest | {"ask": honest["ark"]})["refused"]
    again = question(replace(forged, root_life=timedelta(days=9)))
    assert sev_crate(honest | {"ark": again["ark"]})["refused"] == ""
