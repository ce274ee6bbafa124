from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.verifier.snp import lax, strict

from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AMD_TURIN_ROOT,
    PolicyError,
    SimulatedRoot,
    SnpPolicy,
    VendorKey,
    VendorRoot,
    parse_snp_policy,
    print_snp_policy,
)
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.snp.tcb import Product

POLICIES = [
    strict(AMD_MILAN_ROOT),
    strict(AMD_TURIN_ROOT, Product.TURIN),
    strict(SimulatedRoot(b"\x05" * 32), vmpl=frozenset({0, 3, 0xFFFF_FFFF})),
    lax(AMD_GENOA_ROOT),
    strict(SimulatedRoot(b"\x05" * 32), report_data="FRESH_NONCE"),
    strict(VendorKey("ARK-Milan", b"\x05" * 32)),
    strict(VendorRoot("AMD_MILAN_ROOT", b"\x05" * 32)),
]


@pytest.mark.parametrize("form", list(PolicyFormat))
@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_printed_is_read_again(policy: SnpPolicy, form: PolicyFormat) -> None:
    assert parse_snp_policy(print_snp_policy(policy, form)) == policy


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('root = "AMD_MILAN_ROOT"', 'root = "AMD_NAPLES_ROOT"'),
        ('root = "AMD_MILAN_ROOT"', "root = { sha256 = 'aa' }"),
        ('root = "AMD_MILAN_ROOT"', f"root = {{ key_sha256 = '{'aa' * 32}' }}"),
        ('root = "AMD_MILAN_ROOT"', f"root = {{ name = '', key_sha256 = '{'aa' * 32}' }}"),
        ('root = "AMD_MILAN_ROOT"', "root = { name = 'ARK-Milan', key_sha256 = 'aa' }"),
        ('root = "AMD_MILAN_ROOT"', f"root = {{ name = 'x', key_sha256 = '{'aa' * 32}', sha256 = '{'aa' * 32}' }}"),
        ('root = "AMD_MILAN_ROOT"', f"root = {{ simulated_sha256 = '{'aa' * 32}', name = 'x' }}"),
        ('root = "AMD_MILAN_ROOT"', f"root = {{ simulated_sha256 = '{'aa' * 32}', key_sha256 = '{'aa' * 32}' }}"),
        ('vmpl = ["0"]', 'vmpl = ["4"]'),
        ('vmpl = ["0"]', "vmpl = [0]"),
        ('signing_keys = ["VCEK"]', 'signing_keys = ["NONE"]'),
        ('signing_keys = ["VCEK"]', 'signing_keys = ["PEK"]'),
        ('minimum_abi = "0.55"', 'minimum_abi = "0.256"'),
        ('minimum_abi = "0.55"', 'minimum_abi = "new"'),
        ('sockets = "1"', 'sockets = "2"'),
        ('debug = "REFUSE_DEBUG"', 'debug = "no"'),
        ("microcode = 219", "microcode = 256"),
        ("microcode = 219", "fmc = 1"),
        ('"Milan"', '"Naples"'),
        ("host_data", "hostdata"),
        ('"ECC_EN"', '"ECC"'),
        ('["TSME_EN"]', '["ECC_EN"]'),
        ('["TSME_EN"]', '["TSME_EN"], wanted = []'),
        ('mitigations = "ANY_MITIGATIONS"', "mitigations = 18446744073709551616"),
        ("minimum_guest_svn = 2", ""),
    ],
)
def test_refuses_what_is_not_in_the_format(old: str, new: str) -> None:
    text = print_snp_policy(POLICIES[0])
    assert old in text
    with pytest.raises(PolicyError):
        parse_snp_policy(text.replace(old, new, 1))


@given(st.text(max_size=300) | st.dictionaries(st.text(max_size=5), st.integers()).map(str))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_snp_policy(text)


@pytest.mark.parametrize("value", ["{}", "[]", "-1", "''", "true"])
@pytest.mark.parametrize("name", [field.name for field in fields(SnpPolicy)])
def test_no_member_takes_a_value_of_another_kind(name: str, value: str) -> None:
    lines = [line for line in print_snp_policy(POLICIES[0]).splitlines() if not line.startswith(f"{name} =")]
    with pytest.raises(PolicyError):
        parse_snp_policy("\n".join([f"{name} = {value}", *lines]))
