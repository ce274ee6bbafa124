"""Each demand that came after the first ones: accepted as it should be, refused by its rule, malformed, left out."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.rigs.verifier.real_quotes import load
from tests.rigs.verifier.real_quotes import policy as lax_sgx
from tests.rigs.verifier.sgx import policy as strict_sgx
from tests.rigs.verifier.snp import lax, strict

from casemate.makers.intel.ledger import Ca
from casemate.testing.forge import Forged, Forgery, honest
from casemate.testing.forge_snp import CHIP_ID, ForgedSnp, honest_snp
from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AcceptedStatus,
    ExpectedReportData,
    ExpectedReportDataPrefix,
    FirmwareVersion,
    MaskedBits,
    PolicyError,
    RefusedError,
    Rule,
    SgxPolicy,
    SimulatedRoot,
    SnpPolicy,
    appraise,
    appraise_snp,
    explain,
    explain_snp,
    parse_policy,
    parse_snp_policy,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.demands import members_of
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, MiscSelect
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckConfiguration, PckExtension, PckPlatform
from casemate.wire.sgx.tcb_info import TcbStatus
from casemate.wire.snp.report import GuestPolicy, SigningKey
from casemate.wire.snp.tcb import Product, TcbVersion

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KSS = Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT | AttributeFlag.KSS, 0x7)

Change = Callable[[Forgery], None]


def body(**values: Any) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.body = replace(forgery.body, **values)

    return change


def pck(**values: Any) -> Change:
    def change(forgery: Forgery) -> None:
        found = next(value for value, _ in forgery.pck.extensions if value.oid.dotted_string == SGX_EXTENSION_OID)
        assert isinstance(found, x509.UnrecognizedExtension)
        changed = replace(PckExtension.parse(found.value), **values).encode()
        forgery.pck.drop_extension(SGX_EXTENSION_OID)
        forgery.pck.extensions.append((x509.UnrecognizedExtension(found.oid, changed), False))

    return change


def instance(instance_id: bytes) -> Change:
    off = PckConfiguration(dynamic_platform=False, cached_keys=False, smt_enabled=False)
    return pck(platform=PckPlatform(instance_id, off))


def issued(at: datetime) -> Change:
    def change(forgery: Forgery) -> None:
        text = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        forgery.tcb_info["issueDate"] = text
        forgery.qe_identity["issueDate"] = text

    return change


def listed(at: datetime) -> Change:
    return lambda forgery: setattr(forgery.pck_crl, "this_update", at)


SGX: list[tuple[str, Any, Any, Rule, Change]] = [
    ("attributes", MaskedBits(0x84, 0x86), MaskedBits(0x04, 0x84), Rule.ENCLAVE_ATTRIBUTES, body(attributes=KSS)),
    ("xfrm", MaskedBits(0x7, 0xFFFF), MaskedBits(0x3, 0xFFFF), Rule.ENCLAVE_XFRM, body(attributes=KSS)),
    ("misc_select", MaskedBits(1, 1), MaskedBits(0, 1), Rule.ENCLAVE_MISC_SELECT, body(misc_select=MiscSelect.EXINFO)),
    ("config_id", {b"c" * 64, b"d" * 64}, {b"e" * 64}, Rule.ENCLAVE_CONFIG_ID, body(config_id=b"c" * 64)),
    ("minimum_config_svn", 5, 6, Rule.ENCLAVE_CONFIG_SVN, body(config_svn=5)),
    ("family_id", {b"f" * 16}, {b"g" * 16}, Rule.ENCLAVE_FAMILY_ID, body(isv_family_id=b"f" * 16)),
    ("extended_product_id", {b"x" * 16}, {b"y" * 16}, Rule.ENCLAVE_EXTENDED_PRODUCT_ID, body(isv_ext_prod_id=b"x"*16)),
    ("ppid", {b"p" * 16}, {b"q" * 16}, Rule.PLATFORM_PPID, pck(ppid=b"p" * 16)),
    ("platform_instance", {b"i" * 16}, {b"j" * 16}, Rule.PLATFORM_INSTANCE, instance(b"i" * 16)),
    ("maximum_collateral_age", 3 * 86400, 3 * 86400 - 1, Rule.COLLATERAL_AGE, issued(NOW - 3 * DAY)),
    ("maximum_collateral_age", 4 * 86400, 4 * 86400 - 1, Rule.COLLATERAL_AGE, listed(NOW - 4 * DAY)),
]  # fmt: skip
SGX_CASES = [pytest.param(*case, id=f"{at} {case[0]}") for at, case in enumerate(SGX)]


def frozen(value: Any) -> Any:
    return frozenset(value) if isinstance(value, set) else value


def refused(forged: Forged, now: datetime = NOW, **demands: Any) -> RefusedError:
    policy = replace(forged.policy, **demands)
    with pytest.raises(RefusedError) as caught:
        appraise(forged.evidence, policy, forged.collateral, now)
    assert caught.value.rule == getattr(explain(forged.evidence, policy, forged.collateral, now).refusal, "rule", None)
    return caught.value


def accepted(forged: Forged, now: datetime = NOW, **demands: Any) -> Any:
    return appraise(forged.evidence, replace(forged.policy, **demands), forged.collateral, now)


@pytest.mark.parametrize(("name", "right", "wrong", "rule", "change"), SGX_CASES)
def test_an_sgx_demand_takes_the_right_value_and_refuses_the_wrong_one(
    name: str, right: Any, wrong: Any, rule: Rule, change: Change
) -> None:
    forgery = honest(NOW)
    change(forgery)
    forged = forgery.sign()
    accepted(forged)
    accepted(forged, **{name: frozen(right)})
    assert refused(forged, **{name: frozen(wrong)}).rule is rule


def test_a_platform_without_an_instance_id_is_none_that_a_policy_names() -> None:
    forged = honest(NOW, ca=Ca.PROCESSOR).sign()
    refusal = refused(forged, platform_instance=frozenset({bytes(16)}))
    assert (refusal.rule, refusal.got) == (Rule.PLATFORM_INSTANCE, "not told")


def test_verified_evidence_is_good_until_its_collateral_is_too_old() -> None:
    forged = honest(NOW).sign()
    assert accepted(forged, maximum_collateral_age=7 * 86400).expires_at == NOW + 7 * DAY
    accepted(forged, NOW + 7 * DAY, maximum_collateral_age=7 * 86400)
    late = refused(forged, NOW + 7 * DAY + timedelta(seconds=1), maximum_collateral_age=7 * 86400)
    assert late.rule is Rule.COLLATERAL_AGE
    assert "604801 seconds ago" in late.got


def behind(newer: str = "2026-02-20T00:00:00Z") -> Forgery:
    """A platform one level behind: that of 2025 was the best until ``newer``, and one of March 2026 came after."""
    forgery = honest(NOW)
    reached = forgery.tcb_info["tcbLevels"][0]
    levels = []
    for svns, date, status in ((2, "2026-02-27T00:00:00Z", "UpToDate"), (1, newer, "OutOfDate")):
        components = [{"svn": each["svn"]} for each in reached["tcb"]["sgxtcbcomponents"]]
        components[0] = {"svn": components[0]["svn"] + svns}
        tcb = {"sgxtcbcomponents": components, "pcesvn": reached["tcb"]["pcesvn"]}
        levels.append({"tcb": tcb, "tcbDate": date, "tcbStatus": status})
    old = reached | {"tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["SIM-SA-1"]}
    forgery.tcb_info["tcbLevels"] = [*levels, old]
    return forgery


OUT_OF_DATE = (AcceptedStatus(TcbStatus.OUT_OF_DATE, "ANY_ADVISORY"),)


def test_an_out_of_date_platform_is_accepted_for_the_days_of_grace_after_the_recovery_that_it_lacks() -> None:
    forged = behind().sign()
    recovered = datetime(2026, 2, 20, tzinfo=UTC)
    accepted(forged, tcb=OUT_OF_DATE)
    verified = accepted(forged, tcb=OUT_OF_DATE, recovery_grace_days=20)
    assert verified.expires_at == recovered + 20 * DAY
    accepted(forged, recovered + 20 * DAY, tcb=OUT_OF_DATE, recovery_grace_days=20)
    late = refused(forged, recovered + 20 * DAY + timedelta(seconds=1), tcb=OUT_OF_DATE, recovery_grace_days=20)
    assert (late.rule, late.got) == (Rule.TCB_GRACE, "OutOfDate, since 2026-02-20T00:00:00Z")
    assert refused(forged, tcb=OUT_OF_DATE, recovery_grace_days=0).rule is Rule.TCB_GRACE


def test_grace_makes_no_status_acceptable_that_the_policy_does_not_name() -> None:
    config_needed = (AcceptedStatus(TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED, "ANY_ADVISORY"),)
    assert refused(behind().sign(), tcb=config_needed, recovery_grace_days=3000).rule is Rule.TCB_STATUS


def test_grace_does_not_concern_a_platform_that_is_up_to_date() -> None:
    both = (*OUT_OF_DATE, AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()))
    assert accepted(honest(NOW).sign(), tcb=both, recovery_grace_days=0).expires_at == NOW + 30 * DAY


def test_without_a_newer_level_nobody_knows_since_when_a_platform_is_out_of_date() -> None:
    forged = behind(newer="2024-01-01T00:00:00Z")
    forged.tcb_info["tcbLevels"] = forged.tcb_info["tcbLevels"][1:]
    late = refused(forged.sign(), tcb=OUT_OF_DATE, recovery_grace_days=3000)
    assert (late.rule, late.got) == (Rule.TCB_GRACE, "OutOfDate, since no date that is known")


def test_an_out_of_date_quoting_enclave_has_its_own_recovery() -> None:
    forgery = honest(NOW)
    forgery.qe_report = replace(forgery.qe_report, isv_svn=6)
    forgery.qe_identity["tcbLevels"] = [
        {"tcb": {"isvsvn": 8}, "tcbDate": "2026-02-25T00:00:00Z", "tcbStatus": "UpToDate"},
        {"tcb": {"isvsvn": 6}, "tcbDate": "2025-02-25T00:00:00Z", "tcbStatus": "OutOfDate"},
    ]
    forged = forgery.sign()
    recovered = datetime(2026, 2, 25, tzinfo=UTC)
    assert accepted(forged, tcb=OUT_OF_DATE, recovery_grace_days=10).expires_at == recovered + 10 * DAY
    assert refused(forged, tcb=OUT_OF_DATE, recovery_grace_days=4).rule is Rule.TCB_GRACE


def test_dates_at_the_end_of_the_calendar_break_nothing() -> None:
    forged = behind(newer="9999-12-31T00:00:00Z")
    forged.tcb_info["tcbLevels"] = forged.tcb_info["tcbLevels"][1:]
    accepted(forged.sign(), tcb=OUT_OF_DATE, recovery_grace_days=3000)
    end = honest(NOW)
    issued(datetime(9999, 12, 31, tzinfo=UTC))(end)
    assert refused(end.sign(), maximum_collateral_age=86400).rule is Rule.TCB_INFO_WINDOW


@pytest.mark.parametrize("size", [1, 32, 64])
def test_report_data_is_judged_by_its_first_bytes(size: int) -> None:
    data = bytes(range(1, 65))
    forgery = honest(NOW)
    body(report_data=data)(forgery)
    forged = forgery.sign()
    free: dict[str, Any] = {"layers": "UNSAFE_ANY_SANDBOX"}
    accepted(forged, report_data=ExpectedReportDataPrefix(data[:size]), **free)
    wrong = data[: size - 1] + b"\xff"
    refusal = refused(forged, report_data=ExpectedReportDataPrefix(wrong), **free)
    assert refusal.rule is Rule.BINDING_REPORT_DATA
    assert f"its first {size} bytes" in refusal.want
    guest, endorsements, root = honest_snp(NOW).sign()
    appraise_snp(guest, strict(root, report_data=ExpectedReportDataPrefix(b"\x07" * size)), endorsements, NOW)
    with pytest.raises(RefusedError) as caught:
        appraise_snp(guest, strict(root, report_data=ExpectedReportDataPrefix(wrong)), endorsements, NOW)
    assert caught.value.rule is Rule.BINDING_REPORT_DATA


def policy_bits(*, on: int = 0) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: forged.change(lambda report: replace(report, policy=report.policy | int(on)))


def committed(major: int, minor: int, build: int) -> Callable[[ForgedSnp], ForgedSnp]:
    versions: dict[str, Any] = {
        f"{which}_{part}": value
        for which in ("committed", "current")
        for part, value in (("major", major), ("minor", minor), ("build", build))
    }
    return lambda forged: forged.change(lambda report: replace(report, **versions))


UNCHANGED = policy_bits()
SNP: list[tuple[str, Any, Rule, Callable[[ForgedSnp], ForgedSnp], Callable[[ForgedSnp], ForgedSnp]]] = [
    ("cxl", "MUST_BE_OFF", Rule.SNP_CXL, UNCHANGED, policy_bits(on=GuestPolicy.CXL_ALLOW)),
    ("memory_encryption", "AES_256_XTS", Rule.SNP_AES_256_XTS, policy_bits(on=GuestPolicy.MEM_AES_256_XTS), UNCHANGED),
    ("rapl", "MUST_BE_OFF", Rule.SNP_RAPL, policy_bits(on=GuestPolicy.RAPL_DIS), UNCHANGED),
    (
        "ciphertext_hiding",
        "MUST_BE_ON",
        Rule.SNP_CIPHERTEXT_HIDING,
        policy_bits(on=GuestPolicy.CIPHERTEXT_HIDING_DRAM),
        UNCHANGED,
    ),
    ("page_swap", "MUST_BE_OFF", Rule.SNP_PAGE_SWAP, policy_bits(on=GuestPolicy.PAGE_SWAP_DISABLE), UNCHANGED),
    ("minimum_firmware", FirmwareVersion(1, 55, 29), Rule.SNP_FIRMWARE, committed(1, 55, 29), committed(1, 55, 28)),
    ("minimum_firmware", FirmwareVersion(1, 55, 29), Rule.SNP_FIRMWARE, committed(1, 58, 3), committed(1, 54, 200)),
    ("minimum_firmware", FirmwareVersion(1, 55, 29), Rule.SNP_FIRMWARE, committed(2, 0, 0), committed(0, 255, 255)),
]
SNP_CASES = [pytest.param(*case, id=f"{at} {case[0]}") for at, case in enumerate(SNP)]


@pytest.mark.parametrize(("name", "value", "rule", "right", "wrong"), SNP_CASES)
def test_an_snp_demand_takes_the_right_report_and_refuses_the_wrong_one(
    name: str,
    value: Any,
    rule: Rule,
    right: Callable[[ForgedSnp], ForgedSnp],
    wrong: Callable[[ForgedSnp], ForgedSnp],
) -> None:
    evidence, endorsements, root = right(honest_snp(NOW)).sign()
    appraise_snp(evidence, strict(root, **{name: value}), endorsements, NOW)
    evidence, endorsements, root = wrong(honest_snp(NOW)).sign()
    appraise_snp(evidence, strict(root), endorsements, NOW)
    with pytest.raises(RefusedError) as caught:
        appraise_snp(evidence, strict(root, **{name: value}), endorsements, NOW)
    assert caught.value.rule is rule
    tree = explain_snp(evidence, strict(root, **{name: value}), endorsements, NOW)
    assert tree.refusal is not None
    assert tree.refusal.rule is rule


def test_firmware_is_judged_by_what_the_platform_cannot_go_back_below() -> None:
    forged = honest_snp(NOW).change(lambda report: replace(report, current_build=40))
    evidence, endorsements, root = forged.sign()
    demands: dict[str, Any] = {"provisional": "ANY_PROVISIONAL", "minimum_firmware": FirmwareVersion(1, 55, 30)}
    with pytest.raises(RefusedError) as caught:
        appraise_snp(evidence, strict(root, **demands), endorsements, NOW)
    assert (caught.value.rule, caught.value.got) == (Rule.SNP_FIRMWARE, "1.55.29")


def test_a_revocation_list_is_refused_when_it_is_too_old() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    policy = strict(root, maximum_collateral_age=86400)
    assert appraise_snp(evidence, policy, endorsements, NOW + DAY).expires_at == NOW + DAY
    with pytest.raises(RefusedError) as caught:
        appraise_snp(evidence, policy, endorsements, NOW + DAY + timedelta(seconds=1))
    assert caught.value.rule is Rule.COLLATERAL_AGE
    with pytest.raises(PolicyError, match="no revocation list is required"):
        strict(root, maximum_collateral_age=86400, revocation="UNSAFE_NO_REVOCATION_LIST")


def test_one_policy_judges_a_fleet_of_several_products() -> None:
    signed = {product: honest_snp(NOW, product).sign() for product in (Product.MILAN, Product.GENOA)}
    roots = tuple(root for _, _, root in signed.values())
    floors = tuple(TcbVersion(product, 4, 0, 24, 219) for product in signed)
    tcbs: dict[str, Any] = dict.fromkeys(("reported_tcb", "committed_tcb", "launch_tcb", "current_tcb"), floors)
    policy = replace(strict(roots[0]), root=roots, **tcbs)
    for product, (evidence, endorsements, root) in signed.items():
        verified = appraise_snp(evidence, policy, endorsements, NOW)
        assert (verified.product, verified.root, verified.simulated) == (product, root.name, True)
    milan, genoa = (signed[product] for product in (Product.MILAN, Product.GENOA))
    above = tuple(replace(floor, microcode=220) if floor.product is Product.GENOA else floor for floor in floors)
    stricter = replace(policy, reported_tcb=above)
    appraise_snp(milan[0], stricter, milan[1], NOW)
    no_floor = replace(policy, launch_tcb=floors[:1])
    for demands, rule in (
        (stricter, Rule.SNP_TCB_REPORTED),
        (no_floor, Rule.SNP_TCB_LAUNCH),
        (replace(policy, root=roots[:1]), Rule.CHAIN_ROOT),
    ):
        with pytest.raises(RefusedError) as caught:
            appraise_snp(genoa[0], demands, genoa[1], NOW)
        assert caught.value.rule is rule
        if rule is Rule.SNP_TCB_LAUNCH:  # whose numbers would do: the error says that they are another product's
            assert caught.value.got.startswith("Genoa, for which the policy has no floor: ")
            assert caught.value.want.startswith("Milan: ")
    turin = honest_snp(NOW, Product.TURIN).sign()
    with pytest.raises(RefusedError) as caught:
        appraise_snp(turin[0], policy, turin[1], NOW)
    assert caught.value.rule is Rule.CHAIN_ROOT
    assert all(root.name in caught.value.want for root in roots)


@pytest.mark.parametrize(
    "roots",
    [
        (),
        (AMD_MILAN_ROOT, AMD_MILAN_ROOT),
        (AMD_MILAN_ROOT, SimulatedRoot(bytes(32))),
        (AMD_MILAN_ROOT, "AMD_GENOA_ROOT"),
        (SimulatedRoot(b"short"),),
        tuple(SimulatedRoot(bytes([at]) * 32) for at in range(17)),
    ],
)
def test_refuses_lists_of_roots_that_make_no_sense(roots: Any) -> None:
    with pytest.raises(PolicyError, match="root"):
        replace(lax(AMD_MILAN_ROOT), root=roots)


@pytest.mark.parametrize("floors", [(), (TcbVersion(Product.MILAN, 1, 1, 1, 1),) * 2, ("Milan",)])
def test_refuses_lists_of_floors_that_make_no_sense(floors: Any) -> None:
    with pytest.raises(PolicyError, match="reported_tcb"):
        lax(AMD_MILAN_ROOT, reported_tcb=floors)


def test_a_list_of_too_many_roots_is_refused_with_their_number() -> None:
    document = json.loads(print_snp_policy(lax(AMD_MILAN_ROOT), PolicyFormat.JSON))
    document["root"] = [{"simulated_sha256": f"{at:064x}"} for at in range(1000)]
    with pytest.raises(PolicyError, match=r"policy\.root is 1000 roots, the format wants .* up to 16"):
        parse_snp_policy(json.dumps(document))


@pytest.mark.parametrize(("text", "shown"), [("", "''"), ("x", "'x'"), ("aa" * 50_000, f"'{'aa' * 40}"[:77])])
def test_a_wrong_value_in_a_list_is_named_by_its_place(text: str, shown: str) -> None:
    document = json.loads(print_snp_policy(lax(AMD_MILAN_ROOT), PolicyFormat.JSON))
    document["chip_id"] = [f"{0:0128x}", text]
    with pytest.raises(PolicyError) as caught:
        parse_snp_policy(json.dumps(document))
    assert str(caught.value).startswith(f"policy.chip_id[1] is {shown}")
    assert len(str(caught.value)) < 200


def test_a_machine_that_is_not_on_a_long_list_is_refused_in_few_words() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    machines = frozenset(number.to_bytes(64) for number in range(4096))
    with pytest.raises(RefusedError) as caught:
        appraise_snp(evidence, strict(root, chip_id=machines), endorsements, NOW)
    assert caught.value.rule is Rule.SNP_CHIP_ID
    assert caught.value.want.startswith(f"{0:0128x}, {1:0128x}, ")
    assert caught.value.want.endswith(" and 4064 more")
    assert len(caught.value.want) < 5000


def test_a_hidden_chip_of_a_clouds_key_is_none_that_a_policy_names() -> None:
    evidence, endorsements, root = honest_snp(NOW, kind=SigningKey.VLEK).sign()
    policy = strict(root, signing_keys=frozenset({SigningKey.VLEK}), chip_id=frozenset({CHIP_ID}))
    with pytest.raises(RefusedError, match="MASK_CHIP_ID") as caught:
        appraise_snp(evidence, policy, endorsements, NOW)
    assert caught.value.rule is Rule.SNP_CHIP_ID


SGX_VALUES: dict[str, Any] = {name: frozen(right) for name, right, _, _, _ in SGX} | {
    "tcb": OUT_OF_DATE,
    "recovery_grace_days": 14,
    "layers": "UNSAFE_ANY_SANDBOX",
    "report_data": ExpectedReportDataPrefix(b"\x01\x02"),
}
SNP_VALUES: dict[str, Any] = {name: value for name, value, _, _, _ in SNP} | {
    "maximum_collateral_age": 86400,
    "root": (AMD_MILAN_ROOT, AMD_GENOA_ROOT),
    "launch_tcb": (TcbVersion(Product.MILAN, 4, 0, 24, 219), TcbVersion(Product.TURIN, 4, 0, 24, 219, fmc=1)),
    "report_data": ExpectedReportDataPrefix(b"\x01\x02"),
}


def test_these_values_are_of_all_members_that_may_be_left_out() -> None:
    for of, values in ((SgxPolicy, SGX_VALUES), (SnpPolicy, SNP_VALUES)):
        optional = {member.name for member in members_of(of) if not member.is_required}
        assert optional - set(values) <= {"guest_policy"}


@pytest.mark.parametrize("form", PolicyFormat)
def test_policies_with_all_of_them_are_read_as_they_are_printed(form: PolicyFormat) -> None:
    sgx, snp = strict_sgx(**SGX_VALUES), replace(strict(AMD_MILAN_ROOT), **SNP_VALUES)
    assert parse_policy(print_policy(sgx, form)) == sgx
    assert parse_snp_policy(print_snp_policy(snp, form)) == snp
    assert "recovery_grace_days" not in print_policy(strict_sgx(), form)
    assert "cxl" not in print_snp_policy(strict(AMD_MILAN_ROOT), form)


@pytest.mark.parametrize(
    "line",
    [
        'attributes = { value = "0x8", mask = "0x7" }',
        'attributes = { value = "0x0", mask = "0x0" }',
        'attributes = { value = "0x1" }',
        'attributes = "ANY_XFRM"',
        'xfrm = { value = "0x1ffffffffffffffff", mask = "0x1" }',
        "xfrm = { value = -1, mask = 1 }",
        'misc_select = { value = "0x1", mask = "0x1ffffffff" }',
        'config_id = ["00"]',
        "config_id = []",
        "minimum_config_svn = 65536",
        'family_id = "ANY"',
        f'extended_product_id = ["{"zz" * 16}"]',
        f'ppid = ["{"00" * 15}"]',
        f'platform_instance = ["{"00" * 17}"]',
        "maximum_collateral_age = -1",
        "maximum_collateral_age = 1.5",
        "maximum_collateral_age = 999999999999",
        'recovery_grace_days = "30"',
        "recovery_grace_days = 30",
    ],
)
def test_refuses_malformed_members_of_sgx_policies(line: str) -> None:
    text = print_policy(strict_sgx())
    with pytest.raises(PolicyError, match=line.split(" = ", maxsplit=1)[0]):
        parse_policy(f"{line}\n{text}")


@pytest.mark.parametrize(
    "line",
    [
        'cxl = "MUST_BE_ON"',
        'memory_encryption = "AES_128"',
        "rapl = false",
        'ciphertext_hiding = "MUST_BE_OFF"',
        'page_swap = "ANY_CXL"',
        'minimum_firmware = "1.55"',
        'minimum_firmware = "1.55.256"',
        'minimum_firmware = "1.055.2"',
        "minimum_firmware = 1.55",
        'maximum_collateral_age = "ANY"',
        "root = []",
        'root = ["AMD_MILAN_ROOT", "MY_ROOT"]',
        'root = ["AMD_MILAN_ROOT", 1]',
        "launch_tcb = []",
        'launch_tcb = [{ product = "Milan" }]',
        'report_data = { prefix = "" }',
        f'report_data = {{ prefix = "{"00" * 65}" }}',
        'report_data = { prefix = "00", equals = "00" }',
    ],
)
def test_refuses_malformed_members_of_snp_policies(line: str) -> None:
    name = line.split(" = ", maxsplit=1)[0]
    rest = [each for each in print_snp_policy(strict(AMD_MILAN_ROOT)).splitlines() if not each.startswith(f"{name} =")]
    with pytest.raises(PolicyError, match=name):
        parse_snp_policy("\n".join([line, *rest]))


def test_a_real_quote_is_judged_by_its_machine_and_the_age_of_its_collateral(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    now = datetime(2025, 6, 20, tzinfo=UTC)
    verified = appraise(evidence, lax_sgx(), collateral, now)
    appraise(
        evidence,
        lax_sgx(ppid=frozenset({verified.platform.ppid}), maximum_collateral_age=2 * 86400, xfrm=MaskedBits(3, 3)),
        collateral,
        now,
    )
    for demands, rule in (
        ({"ppid": frozenset({bytes(16)})}, Rule.PLATFORM_PPID),
        ({"maximum_collateral_age": 3600}, Rule.COLLATERAL_AGE),
        ({"config_id": frozenset({b"c" * 64})}, Rule.ENCLAVE_CONFIG_ID),
        ({"report_data": ExpectedReportData(bytes(64))}, Rule.BINDING_REPORT_DATA),
    ):
        with pytest.raises(RefusedError) as caught:
            appraise(evidence, lax_sgx(**demands), collateral, now)
        assert caught.value.rule is rule


_BITS: Any = MaskedBits
_STATUS: Any = AcceptedStatus


@pytest.mark.parametrize(
    "changed",
    [
        {"attributes": _BITS("1", "1")},
        {"xfrm": _BITS(1.0, 1)},
        {"misc_select": _BITS(True, True)},
        {"tcb": (1,)},
        {"tcb": (_STATUS("UpToDate", "ANY_ADVISORY"),)},
    ],
    ids=["text", "float", "bool", "no status", "status as text"],
)
def test_no_type_checker_has_to_look_into_a_members_value(changed: Any) -> None:
    with pytest.raises(PolicyError, match=next(iter(changed))):
        strict_sgx(**changed)


def test_a_prefix_is_of_bytes() -> None:
    text: Any = "aa"
    with pytest.raises(PolicyError, match="prefix of type str"):
        ExpectedReportDataPrefix(text)
