from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.verifier.sgx import STRICT, policy

from casemate.verifier import (
    INTEL_SGX_ROOT,
    AcceptedStatus,
    ExpectedNonce,
    ExpectedReportData,
    PolicyError,
    RequiredLayers,
    SgxPolicy,
    SimulatedRoot,
    VendorKey,
    VendorRoot,
    parse_policy,
    print_policy,
)
from casemate.verifier.demands import members_of
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus


def test_every_field_must_be_given() -> None:
    for name in STRICT:
        with pytest.raises(TypeError, match=name):
            SgxPolicy(**{other: value for other, value in STRICT.items() if other != name})
    assert {member.name for member in members_of(SgxPolicy) if member.is_required} == set(STRICT)


@pytest.mark.parametrize("name", sorted(STRICT))
def test_none_and_foreign_words_never_mean_do_not_check(name: str) -> None:
    fitting = {
        "mr_enclave": "ANY_MRENCLAVE",
        "mr_signer": "ANY_MRSIGNER",
        "product_id": "ANY_PRODUCT_ID",
        "minimum_svn": "ANY_SVN",
        "minimum_evaluation_number": "ANY_EVALUATION_NUMBER",
        "minimum_tcb_date": "ANY_TCB_DATE",
    }
    foreign = next(word for word in fitting.values() if fitting.get(name) != word)
    values: tuple[object, ...] = (None, foreign, "", True, [], set())
    for value in values:
        with pytest.raises(PolicyError, match=name):
            policy(**{name: value})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mr_enclave": "ANY_MRENCLAVE"}, "names no enclave"),
        ({"mr_enclave": frozenset()}, "ANY_MR_ENCLAVE|empty set"),
        ({"mr_enclave": frozenset({bytes(31)})}, "31 bytes"),
        ({"mr_signer": frozenset({b""})}, "0 bytes"),
        ({"product_id": 65536}, "65536"),
        ({"minimum_svn": -1}, "-1"),
        ({"tcb": ()}, "accepts 0 statuses"),
        ({"tcb": (AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()),) * 2}, "each once"),
        ({"minimum_tcb_date": datetime(2025, 1, 1)}, "time zone"),
        ({"report_data": "UNSAFE_ANY_REPORT_DATA"}, "layers are required"),
        ({"report_data": ExpectedReportData(bytes(64))}, "layers are required"),
        ({"root": SimulatedRoot(b"short")}, "5 bytes"),
        ({"root": VendorKey("Intel SGX Root CA", b"short")}, "5 bytes"),
        ({"root": VendorKey("", bytes(32))}, "empty name"),
    ],
)
def test_refuses_policies_that_say_nothing_or_contradict_themselves(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        policy(**changed)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_refuses_nonces_of_another_size(size: int) -> None:
    with pytest.raises(PolicyError, match="want 32"):
        ExpectedNonce(bytes(size))


def test_nonce_is_filled_in_for_one_challenge() -> None:
    filled = policy().with_nonce(bytes(32))
    assert filled.report_data == ExpectedNonce(bytes(32))
    with pytest.raises(PolicyError, match="FRESH_NONCE"):
        filled.with_nonce(bytes(32))


def test_weaknesses_are_named() -> None:
    assert policy().weaknesses() == ()
    weak = policy(
        root=SimulatedRoot(bytes(32)),
        public_seed="UNSAFE_PUBLIC_SEED",
        mr_enclave="UNSAFE_ANY_ENCLAVE",
        debug="UNSAFE_ALLOW_DEBUG",
        report_data="UNSAFE_ANY_REPORT_DATA",
        layers="UNSAFE_ANY_SANDBOX",
    )
    assert set(weak.weaknesses()) == {
        "UNSAFE_PUBLIC_SEED", "UNSAFE_ANY_ENCLAVE", "UNSAFE_ALLOW_DEBUG", "UNSAFE_ANY_REPORT_DATA",
        "UNSAFE_ANY_SANDBOX", "SIMULATED_ROOT",
    }  # fmt: skip


TEXT = print_policy(policy())


def test_a_policy_file_reads_as_documented() -> None:
    parsed = parse_policy(
        f"""
        root = {{ simulated_sha256 = "{"ab" * 32}" }}
        public_seed = "REFUSE_PUBLIC_SEED"
        mr_enclave = ["{"cd" * 32}"]
        mr_signer = "ANY_MRSIGNER"
        product_id = 1
        minimum_svn = "ANY_SVN"
        debug = "REFUSE_DEBUG"
        minimum_evaluation_number = 17
        minimum_tcb_date = "2025-03-12T00:00:00Z"
        dynamic_platform = "MUST_BE_OFF"
        cached_keys = "ANY_CACHED_KEYS"
        smt = "ANY_SMT"
        report_data = "FRESH_NONCE"
        layers = {{ enclave = ["seccomp"], guest = ["seccomp", "landlock"] }}

        [[tcb]]
        status = "UpToDate"
        advisories = []

        [[tcb]]
        status = "SWHardeningNeeded"
        advisories = ["INTEL-SA-00615"]
        """
    )
    assert parsed.root == SimulatedRoot(b"\xab" * 32)
    assert parsed.mr_enclave == frozenset({b"\xcd" * 32})
    assert parsed.accepted(TcbStatus.SW_HARDENING_NEEDED) == AcceptedStatus(
        TcbStatus.SW_HARDENING_NEEDED, frozenset({"INTEL-SA-00615"})
    )
    assert parsed.accepted(TcbStatus.REVOKED) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('root = "INTEL_SGX_ROOT"', 'root = "MY_ROOT"', "root"),
        ('root = "INTEL_SGX_ROOT"', 'root = { sha256 = "00" }', "root"),
        ('debug = "REFUSE_DEBUG"', 'debug = "sometimes"', "debug"),
        ('debug = "REFUSE_DEBUG"', 'debug = "ANY_SVN"', "debug"),
        ("product_id = 1", "product_id = 65536", "product_id"),
        ("product_id = 1", "product_id = 1\nunknown = 1", "unknown"),
        ("product_id = 1\n", "", "product_id"),
        ('"FRESH_NONCE"', '{ nonce = "00" }', "nonce"),
        ('"FRESH_NONCE"', '{ nonce = "00", equals = "00" }', "nonce"),
        ('"FRESH_NONCE"', '"UNSAFE_ANY_REPORT_DATA"', "layers are required"),
        ('"seccomp"]', '"magic"]', "magic"),
        ('status = "UpToDate"', 'status = "Fine"', "Fine"),
        ("advisories = []", "advisories = [1]", "advisories"),
        ("[[tcb]]", "[tcb]", "tcb"),
        ("2025-01-01T00:00:00Z", "soon", "minimum_tcb_date"),
        ("smt =", "smt", "not valid TOML"),
    ],
)
def test_refuses_other_policy_files(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    with pytest.raises(PolicyError, match=reason):
        parse_policy(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    "text", ["", "{}", "{", "x = " + "[" * 100_000, '{"a": ' * 10_000, "x = 1" + "0" * 5000, "a = 1\na = 1", "\x00"]
)
def test_refuses_what_is_no_policy_at_all(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text)


def word_or(inner: st.SearchStrategy[Any], *words: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(words) | inner


digest = st.binary(min_size=32, max_size=32)
digests = st.frozensets(digest, min_size=1, max_size=3)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))
layer_sets = st.frozensets(st.sampled_from(LayerName))
accepted = st.builds(
    AcceptedStatus, st.sampled_from(TcbStatus), word_or(st.frozensets(st.text(max_size=12), max_size=3), "ANY_ADVISORY")
)
policies = st.fixed_dictionaries(
    {
        "root": st.just(INTEL_SGX_ROOT)
        | st.builds(SimulatedRoot, digest)
        | st.builds(VendorRoot, st.text(max_size=9), digest)
        | st.builds(VendorKey, st.text(min_size=1, max_size=9), digest),
        "public_seed": st.sampled_from(("REFUSE_PUBLIC_SEED", "UNSAFE_PUBLIC_SEED")),
        "mr_enclave": word_or(digests, "UNSAFE_ANY_ENCLAVE"),
        "mr_signer": word_or(digests, "ANY_MRSIGNER"),
        "product_id": word_or(st.integers(0, 65535), "ANY_PRODUCT_ID"),
        "minimum_svn": word_or(st.integers(0, 65535), "ANY_SVN"),
        "debug": st.sampled_from(("REFUSE_DEBUG", "UNSAFE_ALLOW_DEBUG")),
        "tcb": st.lists(accepted, min_size=1, max_size=4, unique_by=lambda entry: entry.status).map(tuple),
        "minimum_evaluation_number": word_or(st.integers(0, 1000), "ANY_EVALUATION_NUMBER"),
        "minimum_tcb_date": word_or(
            moments.map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC)), "ANY_TCB_DATE"
        ),
        "dynamic_platform": st.sampled_from(("MUST_BE_OFF", "ANY_DYNAMIC_PLATFORM")),
        "cached_keys": st.sampled_from(("MUST_BE_OFF", "ANY_CACHED_KEYS")),
        "smt": st.sampled_from(("MUST_BE_OFF", "ANY_SMT")),
        "report_data": word_or(st.builds(ExpectedNonce, digest), "FRESH_NONCE"),
        "layers": word_or(st.builds(RequiredLayers, layer_sets, layer_sets), "UNSAFE_ANY_SANDBOX"),
    }
).map(lambda members: SgxPolicy(**members))


@given(policies, st.sampled_from(PolicyFormat))
def test_policies_round_trip_through_their_files(demands: SgxPolicy, form: PolicyFormat) -> None:
    assert parse_policy(print_policy(demands, form)) == demands


def test_other_report_data_round_trips() -> None:
    demands = replace(policy(layers="UNSAFE_ANY_SANDBOX"), report_data=ExpectedReportData(bytes(range(64))))
    assert parse_policy(print_policy(demands)) == demands


@given(st.text(max_size=200))
def test_any_text_gives_a_policy_or_a_policy_error(text: str) -> None:
    for attempt in (text, TEXT.replace("1", text, 1), TEXT + text, "{" + text):
        try:
            parse_policy(attempt)
        except PolicyError:
            continue
