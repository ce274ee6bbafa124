"""Every field of an SEV-SNP report, changed in turn: signed again, its rule alone refuses it; otherwise the signature.

The tables below are by field. A test holds them against the layouts, so that no field of any version is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.rigs.verifier.snp import NOW, lax, strict

from casemate.testing.forge_snp import ForgedSnp, honest_snp
from casemate.verifier import (
    AMD_MILAN_ROOT,
    CheckOutcome,
    RefusedError,
    Rule,
    SnpEndorsements,
    SnpEvidence,
    SnpPolicy,
    appraise_snp,
    explain_snp,
)
from casemate.wire.encodings.spans import Span
from casemate.wire.errors import WireError
from casemate.wire.snp.report import VERSIONS, SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion

HONEST: dict[int, tuple[Product, dict[str, Any]]] = {
    2: (Product.MILAN, {"version": 2, "cpuid_family": None, "cpuid_model": None, "cpuid_stepping": None}),
    3: (Product.GENOA, {}),
    4: (Product.MILAN, {"version": 4}),
    5: (Product.TURIN, {}),
}
"""A product for each version, and what makes the forge's report one of it."""


def honest(version: int) -> ForgedSnp:
    product, fields = HONEST[version]
    return honest_snp(NOW, product).change(lambda report: replace(report, **fields))


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a field, and the one rule that is to refuse it."""

    what: str
    rule: Rule
    value: int | bytes | None = None
    """In the field's place; None turns all its bits around."""
    flip: int = 0
    """Bits of a number that are turned around instead."""
    part: tuple[str, int] | None = None
    """A part of a TCB version, and by how much it changes, instead."""
    demands: tuple[tuple[str, object], ...] = ()
    """Of the policy, other than usual: where one value offends two rules by its nature."""

    def made(self, forged: ForgedSnp, field: str) -> ForgedSnp:
        old = getattr(forged.report, field)
        if self.part is not None:
            tcb = TcbVersion.parse(forged.product, old)
            name, by = self.part
            new: Any = replace(tcb, **{name: getattr(tcb, name) + by}).encode()
        elif self.flip:
            new = old ^ self.flip
        elif self.value is None:
            new = bytes(byte ^ 0xFF for byte in old) if isinstance(old, bytes) else old ^ 0xFF
        else:
            new = self.value
        return forged.change(lambda report: replace(report, **{field: new}))


PROVISIONAL: tuple[tuple[str, object], ...] = (("provisional", "ANY_PROVISIONAL"),)
"""A committed or current TCB that differs from the other one is provisional firmware, too."""

OLDER, NEWER, OTHER_LAYOUT = ("snp", -1), ("snp", 1), b"\x01" * 8

FIELDS: dict[str, tuple[Change, ...]] = {
    "guest_svn": (Change("an older guest", Rule.SNP_GUEST_SVN, value=1),),
    "policy": (
        Change("debugging", Rule.SNP_DEBUG, flip=1 << 19),
        Change("migration", Rule.SNP_MIGRATION, flip=1 << 18),
        Change("SMT", Rule.SNP_SMT, flip=1 << 16),
        Change("several sockets", Rule.SNP_SOCKET, flip=1 << 20),
        Change("an older ABI", Rule.SNP_ABI, flip=0x37),
        Change("bit 17 not set", Rule.SNP_GUEST_POLICY, flip=1 << 17),
        *(Change(f"bit {bit} of no meaning", Rule.SNP_GUEST_POLICY, flip=1 << bit) for bit in (26, 40, 63)),
    ),
    "family_id": (Change("another", Rule.SNP_FAMILY_ID),),
    "image_id": (Change("another", Rule.SNP_IMAGE_ID),),
    "vmpl": (
        *(Change(f"level {level}", Rule.SNP_VMPL, value=level) for level in (1, 2, 3, 4)),
        Change("the host", Rule.SNP_VMPL, value=0xFFFF_FFFF),
    ),
    "signature_algo": (Change("another", Rule.SNP_SIGNATURE_ALGORITHM, value=2),),
    "current_tcb": (
        Change(
            "older than committed", Rule.SNP_TCB_ORDER, part=OLDER, demands=(*PROVISIONAL, ("current_tcb", "ANY_TCB"))
        ),
        Change("newer than committed", Rule.SNP_PROVISIONAL, part=NEWER),
        Change("of another layout", Rule.SNP_TCB_FORMAT, value=OTHER_LAYOUT),
    ),
    "platform_info": (
        Change("aliases not looked for", Rule.SNP_PLATFORM_INFO, flip=1 << 5),
        Change("memory of the host encrypted", Rule.SNP_PLATFORM_INFO, flip=1 << 1),
        *(Change(f"bit {bit} of no meaning", Rule.SNP_PLATFORM_INFO, flip=1 << bit) for bit in (8, 40, 63)),
    ),
    "key_info": (
        Change("says VLEK", Rule.SNP_SIGNING_KEY, flip=1 << 2),
        Change("says no key", Rule.SNP_SIGNING_KEY, flip=7 << 2),
        Change("says a key of no kind", Rule.SNP_SIGNING_KEY, flip=3 << 2),
        Change("says that this key may not sign", Rule.SNP_SIGNING_KEY, flip=1 << 1),
        Change("says no author", Rule.SNP_AUTHOR_KEY, flip=1 << 0),
        *(Change(f"bit {bit} is reserved", Rule.SNP_REPORT_FORMAT, flip=1 << bit) for bit in (5, 17, 31)),
    ),
    "report_data": (Change("another", Rule.BINDING_REPORT_DATA),),
    "measurement": (Change("another", Rule.SNP_MEASUREMENT),),
    "host_data": (Change("another", Rule.SNP_HOST_DATA),),
    "id_key_digest": (Change("another", Rule.SNP_ID_KEY),),
    "author_key_digest": (Change("another", Rule.SNP_AUTHOR_KEY),),
    "report_id": (Change("another launch", Rule.SNP_REPORT_ID),),
    "report_id_ma": (Change("a migration agent", Rule.SNP_MIGRATION),),
    "reported_tcb": (
        Change("older than the key's", Rule.SNP_KEY_TCB, part=OLDER, demands=(("reported_tcb", "ANY_TCB"),)),
        Change("of another layout", Rule.SNP_TCB_FORMAT, value=OTHER_LAYOUT),
    ),
    "cpuid_family": (Change("another", Rule.SNP_PRODUCT, value=0x17),),
    "cpuid_model": (Change("another", Rule.SNP_PRODUCT, value=0x60),),
    "chip_id": (Change("another", Rule.SNP_CHIP_ID),),
    "committed_tcb": (
        Change("older", Rule.SNP_TCB_COMMITTED, part=OLDER, demands=PROVISIONAL),
        Change("newer than current", Rule.SNP_TCB_ORDER, part=NEWER, demands=PROVISIONAL),
        Change("of another layout", Rule.SNP_TCB_FORMAT, value=OTHER_LAYOUT),
    ),
    **{
        f"current_{part}": (Change("newer than committed", Rule.SNP_PROVISIONAL),)
        for part in ("build", "minor", "major")
    },
    **{
        f"committed_{part}": (
            Change("older than current", Rule.SNP_PROVISIONAL, value=0),
            Change("newer than current", Rule.SNP_FIRMWARE_ORDER, demands=PROVISIONAL),
        )
        for part in ("build", "minor", "major")
    },
    "launch_tcb": (
        Change("older", Rule.SNP_TCB_LAUNCH, part=OLDER),
        Change("of another layout", Rule.SNP_TCB_FORMAT, value=OTHER_LAYOUT),
    ),
    "launch_mitigations": (Change("one is missing", Rule.SNP_MITIGATIONS, value=0b10),),
    "current_mitigations": (Change("one is missing", Rule.SNP_MITIGATIONS, value=0b01),),
}
"""By the names of the layouts. ``version``, ``reserved`` and the signature are below: they are no fields to change."""

WITHOUT_RULE = {"cpuid_stepping": "AMD endorses every stepping of a product by the same chain, and its VCEKs name none"}
"""Fields that no rule is about, and why."""


def spans(version: int) -> tuple[Span, ...]:
    return honest(version).report.spans()


def refusals(evidence: SnpEvidence, policy: SnpPolicy, given: SnpEndorsements) -> set[Rule]:
    """All rules that refuse; the first of them is the one that ends an appraisal."""
    tree = explain_snp(evidence, policy, given, NOW)
    found = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.REFUSED}
    if found:
        with pytest.raises(RefusedError) as refused:
            appraise_snp(evidence, policy, given, NOW)
        assert refused.value.rule in found
    else:
        appraise_snp(evidence, policy, given, NOW)
    return found


def cases() -> Iterator[Any]:
    for version in VERSIONS:
        for span in spans(version):
            for change in FIELDS.get(span.name, ()):
                yield pytest.param(version, span.name, change, id=f"v{version} {span.name}: {change.what}")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_tables_name_every_field_of_every_version(version: int) -> None:
    named = {*FIELDS, *WITHOUT_RULE, "version", "reserved", "signature_r", "signature_s"}
    assert {span.name for span in spans(version)} <= named
    assert all(name in {span.name for span in spans(5)} for name in named)
    assert [span.offset for span in spans(version)[1:]] == [span.end for span in spans(version)[:-1]]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_report_is_accepted_as_it_is(version: int) -> None:
    evidence, endorsements, root = honest(version).sign()
    assert SnpReport.parse(evidence.report).version == version
    assert refusals(evidence, strict(root, HONEST[version][0]), endorsements) == set()


@pytest.mark.parametrize(("version", "field", "change"), list(cases()))
def test_a_field_that_is_changed_and_signed_again_is_refused_by_its_rule_alone(
    version: int, field: str, change: Change
) -> None:
    evidence, endorsements, root = change.made(honest(version), field).sign()
    policy = strict(root, HONEST[version][0], **dict(change.demands))
    assert refusals(evidence, policy, endorsements) == {change.rule}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_tcb_with_a_key_of_its_own_is_below_the_floor_alone(version: int) -> None:
    forged = honest(version)
    older = replace(forged.key_tcb, snp=forged.key_tcb.snp - 1)
    forged = replace(forged.change(lambda report: replace(report, reported_tcb=older.encode())), key_tcb=older)
    evidence, endorsements, root = forged.sign()
    assert refusals(evidence, strict(root, forged.product), endorsements) == {Rule.SNP_TCB_REPORTED}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", ["boot_loader", "tee", "snp", "microcode"])
def test_each_part_of_the_tcb_keeps_the_order_by_itself(version: int, part: str) -> None:
    """A part that is too high is not made up for by another that is lower."""
    forged = honest(version)
    tcb = replace(forged.key_tcb, tee=1)
    other = "snp" if part != "snp" else "microcode"
    above = replace(tcb, **{part: getattr(tcb, part) + 1, other: getattr(tcb, other) - 1})
    forged = forged.change(
        lambda report: replace(
            report,
            current_tcb=tcb.encode(),
            committed_tcb=tcb.encode(),
            launch_tcb=tcb.encode(),
            reported_tcb=above.encode(),
        )
    )
    evidence, endorsements, root = replace(forged, key_tcb=above).sign()
    policy = strict(root, forged.product, reported_tcb="ANY_TCB")
    assert refusals(evidence, policy, endorsements) == {Rule.SNP_TCB_ORDER}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_current_tcb_below_the_floor_breaks_that_rule_alone(version: int) -> None:
    evidence, endorsements, root = honest(version).sign()
    floor = replace(honest(version).key_tcb, snp=honest(version).key_tcb.snp + 1)
    policy = strict(root, HONEST[version][0], current_tcb=floor)
    assert refusals(evidence, policy, endorsements) == {Rule.SNP_TCB_CURRENT}


@pytest.mark.parametrize("version", VERSIONS)
def test_hosts_may_report_less_than_they_have_committed_to(version: int) -> None:
    """As AWS does in the VLEK report of the vectors: reported d9, committed db, current dc."""
    forged = honest(version)
    older = replace(forged.key_tcb, snp=forged.key_tcb.snp - 1)
    forged = replace(forged.change(lambda report: replace(report, reported_tcb=older.encode())), key_tcb=older)
    evidence, endorsements, root = forged.sign()
    assert refusals(evidence, strict(root, forged.product, reported_tcb=older), endorsements) == set()


@pytest.mark.parametrize("part", [OLDER, NEWER])
def test_a_guest_may_have_been_launched_under_any_tcb(part: tuple[str, int]) -> None:
    """It may come from another machine, and firmware that is not committed may be taken back."""
    evidence, endorsements, root = Change("", Rule.SNP_TCB_LAUNCH, part=part).made(honest(3), "launch_tcb").sign()
    assert refusals(evidence, strict(root, Product.GENOA, launch_tcb="ANY_TCB"), endorsements) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_reserved_bytes_and_unknown_versions_are_of_no_known_format(version: int) -> None:
    places = {at for span in spans(version) if span.name == "reserved" for at in (span.offset, span.end - 1)}
    patches = [(at, b"\x01") for at in sorted(places)] + [(0, bytes([other])) for other in (0, 1, 6, 255)]
    for patch in (*patches, (1, b"\x01"), (3, b"\x80")):
        evidence, endorsements, root = replace(honest(version), patches=(patch,)).sign()
        assert refusals(evidence, strict(root, HONEST[version][0]), endorsements) == {Rule.SNP_REPORT_FORMAT}, patch


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_report_that_says_an_older_version_than_it_is_of_has_bytes_where_none_may_be(version: int) -> None:
    evidence, endorsements, root = replace(honest(version), patches=((0, b"\x02"),)).sign()
    assert refusals(evidence, strict(root, HONEST[version][0]), endorsements) == {Rule.SNP_REPORT_FORMAT}


def test_what_no_rule_is_about_can_be_anything() -> None:
    for field in WITHOUT_RULE:
        evidence, endorsements, root = Change("another", Rule.SNP_PRODUCT).made(honest(3), field).sign()
        assert refusals(evidence, strict(root, Product.GENOA), endorsements) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_is_changed_and_not_signed_again_is_refused_by_the_signature(version: int) -> None:
    """Under a policy that demands nothing of it; what cannot be read at all is not asked for its signature."""
    evidence, endorsements, root = honest(version).sign()
    policy = replace(
        lax(AMD_MILAN_ROOT),
        root=root,
        provisional="ANY_PROVISIONAL",
        debug="UNSAFE_ALLOW_DEBUG",
        vmpl=frozenset(range(4)),
    )
    for span in spans(version):
        for at in (span.offset, span.end - 1):
            damaged = bytearray(evidence.report)
            damaged[at] ^= 1
            found = refusals(SnpEvidence(bytes(damaged)), policy, endorsements)
            if is_readable(bytes(damaged)):
                assert Rule.SNP_SIGNATURE in found, (span.name, at)
                assert appraised_last(found), (span.name, at)
            else:
                assert span.name in ("version", "reserved", "signature_algo", "key_info")
                assert found <= {Rule.SNP_REPORT_FORMAT, Rule.SNP_SIGNATURE_ALGORITHM}, (span.name, at)


def is_readable(report: bytes) -> bool:
    try:
        return SnpReport.parse(report).signature_algo == 1
    except WireError:
        return False


def appraised_last(found: set[Rule]) -> bool:
    """Whether nothing else objects but what stands before the signature: whose key this is."""
    key = {Rule.SNP_SIGNING_KEY, Rule.SNP_PRODUCT, Rule.SNP_CHIP_ID, Rule.SNP_TCB_FORMAT, Rule.SNP_KEY_TCB}
    after = {Rule.SNP_GUEST_POLICY, Rule.SNP_VMPL, Rule.SNP_TCB_ORDER, Rule.SNP_FIRMWARE_ORDER}
    return found - {Rule.SNP_SIGNATURE} <= key | after
