import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.channel.rig import ALICE, COLLATERAL
from tests.rigs.client.desk import NOW, Desk

from casemate.client.errors import ReceiptRefusedError
from casemate.client.proof import Proof
from casemate.client.receipts import MAX_BUNDLE, Opening, ReceiptBundle, check_receipt
from casemate.enclave.keys import EnclaveKeys
from casemate.verifier import PolicyError, RefusedError, Rule, SnpEndorsements, parse_policy
from casemate.wire.encodings.json_text import MAX_INTEGER
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.call import Receipt, StateMark
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.tee import Tee

YEARS = timedelta(days=3000)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as found:
        yield found


@pytest.fixture(scope="module")
def bundle(desk: Desk) -> ReceiptBundle:
    return desk.rig.call(desk.attest(), "echo", {"secret": "plaintext ä"}, ALICE).receipt


def test_a_receipt_holds_with_its_openings(desk: Desk, bundle: ReceiptBundle) -> None:
    checked = check_receipt(ReceiptBundle.parse(bundle.encode()), desk.policy)
    assert checked.input == '{"secret":"plaintext ä"}'
    assert checked.output is not None
    assert json.loads(checked.output)["entry"] == "echo"
    assert checked.receipt.caller == ALICE.public_key
    assert checked.enclave.measurement == checked.receipt.measurement
    assert checked.at == NOW


def test_a_receipt_without_openings_holds_and_tells_nothing(desk: Desk, bundle: ReceiptBundle) -> None:
    closed = bundle.without_openings()
    assert "plaintext" not in closed.encode().decode()
    checked = check_receipt(ReceiptBundle.parse(closed.encode()), desk.policy)
    assert (checked.input, checked.output) == (None, None)


@pytest.mark.parametrize(("tail", "accepted"), [(bytes(1), True), (bytes(3000), True), (b"\x00\x01", False)])
def test_zero_bytes_behind_the_evidence_in_a_receipt_are_padding(
    desk: Desk, bundle: ReceiptBundle, tail: bytes, *, accepted: bool
) -> None:
    padded = replace(bundle, proof=replace(bundle.proof, evidence=bundle.proof.evidence + tail))
    parsed = ReceiptBundle.parse(padded.encode() + (tail if accepted else b""))
    if accepted:
        assert check_receipt(parsed, desk.policy).receipt == bundle.receipt
        return
    with pytest.raises(RefusedError) as refused:
        check_receipt(parsed, desk.policy)
    assert refused.value.rule is Rule.QUOTE_FORMAT
    with pytest.raises(WireError):
        ReceiptBundle.parse(padded.encode() + b"\x00\x01")


def test_openings_that_no_receipt_file_can_hold_are_left_out_by_hand(bundle: ReceiptBundle) -> None:
    large = replace(bundle, input=Opening(bytes(32), '"' * (MAX_BUNDLE // 2)))
    with pytest.raises(WireError, match="without_openings"):
        large.encode()
    assert ReceiptBundle.parse(large.without_openings().encode()).receipt == bundle.receipt


def test_one_side_may_be_opened_alone(desk: Desk, bundle: ReceiptBundle) -> None:
    checked = check_receipt(bundle.without_openings(keep_output=True), desk.policy)
    assert checked.input is None
    assert checked.output is not None


def test_years_later_the_quote_is_judged_at_the_files_time_or_at_a_given_one(desk: Desk, bundle: ReceiptBundle) -> None:
    """The function never asks what time it is: nothing here changes with the years."""
    assert check_receipt(bundle, desk.policy).at == bundle.appraised_at
    with pytest.raises(RefusedError):
        check_receipt(bundle, desk.policy, at=NOW + YEARS)
    with pytest.raises(RefusedError):
        check_receipt(replace(bundle, appraised_at=NOW + YEARS), desk.policy)
    assert check_receipt(replace(bundle, appraised_at=NOW + YEARS), desk.policy, at=NOW).at == NOW


def test_a_policy_that_does_not_know_this_enclave_refuses(desk: Desk, bundle: ReceiptBundle) -> None:
    with pytest.raises(RefusedError):
        check_receipt(bundle, replace(desk.policy, mr_enclave=frozenset({bytes(32)})))


def test_a_policy_that_asks_for_no_binding_is_refused(desk: Desk, bundle: ReceiptBundle) -> None:
    with pytest.raises(PolicyError):
        check_receipt(bundle, desk.policy.with_nonce(bundle.binding.nonce))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"quote_hash": bytes(32)}, "quote hash"),
        ({"measurement": bytes(32)}, "measurement"),
        ({"session": 99}, "receipt signature"),
        ({"sequence": 99}, "receipt signature"),
        ({"entry": "private"}, "receipt signature"),
        ({"caller": None}, "receipt signature"),
        ({"input_commitment": bytes(32)}, "receipt signature"),
        ({"output_commitment": bytes(32)}, "receipt signature"),
        ({"counter": 99}, "receipt signature"),
        ({"state": StateMark(7, 0)}, "receipt signature"),
        ({"isolation": Isolation.CALL}, "receipt signature"),
        ({"isolation": None}, "receipt signature"),
    ],
)
def test_an_altered_receipt_is_refused(desk: Desk, bundle: ReceiptBundle, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ReceiptRefusedError, match=rule):
        check_receipt(replace(bundle, receipt=replace(bundle.receipt, **change)), desk.policy)


@pytest.mark.parametrize("state", [None, StateMark(0, 0), StateMark(MAX_INTEGER, 2**32 - 1)])
def test_the_mark_of_the_state_comes_back(bundle: ReceiptBundle, state: StateMark | None) -> None:
    marked = replace(bundle, receipt=replace(bundle.receipt, state=state))
    assert ReceiptBundle.parse(marked.encode()) == marked


@pytest.mark.parametrize(
    "state",
    [
        7,
        [],
        {},
        {"epoch": 1},
        {"epoch": -1, "recoveries": 0},
        {"epoch": 1, "recoveries": 2**32},
        {"epoch": 1, "recoveries": 0, "x": 1},
    ],
)
def test_a_malformed_mark_is_refused(bundle: ReceiptBundle, state: object) -> None:
    document = json.loads(bundle.encode())
    document["receipt"]["state"] = state
    with pytest.raises(WireError, match="state"):
        ReceiptBundle.parse(json.dumps(document).encode())


@pytest.mark.parametrize("isolation", [None, *Isolation])
def test_the_isolation_mode_comes_back(bundle: ReceiptBundle, isolation: Isolation | None) -> None:
    marked = replace(bundle, receipt=replace(bundle.receipt, isolation=isolation))
    assert ReceiptBundle.parse(marked.encode()) == marked


@pytest.mark.parametrize("isolation", ["", "both", 7, ["shared"]])
def test_an_isolation_mode_that_there_is_not_is_refused(bundle: ReceiptBundle, isolation: object) -> None:
    document = json.loads(bundle.encode())
    document["receipt"]["isolation"] = isolation
    with pytest.raises(WireError, match="isolation"):
        ReceiptBundle.parse(json.dumps(document).encode())


def test_an_enclaves_receipt_names_its_isolation_mode(desk: Desk, bundle: ReceiptBundle) -> None:
    assert check_receipt(bundle, desk.policy).receipt.isolation is Isolation.SHARED


EARLIER = Path(__file__).parents[2] / "rigs" / "client" / "receipts_of_protocol_1"


@pytest.mark.parametrize("name", ["with-state", "without-state"])
def test_a_receipt_of_protocol_1_is_accepted_for_ever(name: str) -> None:
    """Made by the code and the real processes of that time: see the note beside the files."""
    data = (EARLIER / f"receipt-{name}.json").read_bytes()
    policy = parse_policy((EARLIER / "policy.toml").read_text())
    checked = check_receipt(ReceiptBundle.parse(data), policy)
    assert checked.receipt.isolation is None
    assert json.loads(checked.output or "") == {"heard": json.loads(checked.input or "")}
    written_anew = ReceiptBundle.parse(ReceiptBundle.parse(data).encode())
    assert check_receipt(written_anew, policy).receipt == checked.receipt
    claimed = replace(written_anew, receipt=replace(written_anew.receipt, isolation=Isolation.CALLER))
    with pytest.raises(ReceiptRefusedError, match="receipt signature"):
        check_receipt(claimed, policy)


def test_a_file_of_protocol_1_names_no_isolation_mode() -> None:
    document = json.loads((EARLIER / "receipt-with-state.json").read_bytes())
    assert document["version"] == 2
    document["receipt"]["isolation"] = "caller"
    with pytest.raises(WireError, match="isolation"):
        ReceiptBundle.parse(json.dumps(document).encode())


def test_callers_are_written_as_manifests_write_them(bundle: ReceiptBundle) -> None:
    document = json.loads(bundle.encode())
    assert document["receipt"]["caller"] == ALICE.manifest_value
    document["receipt"]["caller"] = ALICE.public_key.hex()
    with pytest.raises(WireError, match=r"receipt\.caller"):
        ReceiptBundle.parse(json.dumps(document).encode())


def test_another_signature_is_refused(desk: Desk, bundle: ReceiptBundle) -> None:
    forged = EnclaveKeys().sign(bundle.receipt)
    with pytest.raises(ReceiptRefusedError, match="receipt signature"):
        check_receipt(replace(bundle, signature=forged), desk.policy)


def test_a_signature_by_a_key_that_the_quote_does_not_vouch_for_is_refused(desk: Desk, bundle: ReceiptBundle) -> None:
    keys = EnclaveKeys()
    forged = replace(
        bundle,
        signature=keys.sign(bundle.receipt),
        binding=replace(bundle.binding, receipt_key=keys.receipt_key),
    )
    with pytest.raises(RefusedError, match="binding"):
        check_receipt(forged, desk.policy)


def test_another_enclaves_quote_is_refused(desk: Desk, bundle: ReceiptBundle) -> None:
    other = desk.attest()
    with pytest.raises(RefusedError, match="binding"):
        check_receipt(replace(bundle, proof=other.proof), desk.policy)
    with pytest.raises(ReceiptRefusedError, match="quote hash"):
        check_receipt(replace(bundle, proof=other.proof, binding=other.binding), desk.policy)


@pytest.mark.parametrize("side", ["input", "output"])
def test_openings_that_the_receipt_does_not_commit_to_are_refused(desk: Desk, bundle: ReceiptBundle, side: str) -> None:
    opening = getattr(bundle, side)
    for false in (replace(opening, content="{}"), replace(opening, blind=bytes(32))):
        with pytest.raises(ReceiptRefusedError, match=f"commitment to the {side}"):
            check_receipt(replace(bundle, **{side: false}), desk.policy)


def test_openings_do_not_show(bundle: ReceiptBundle) -> None:
    assert "plaintext" not in repr(bundle)


# The file

HASH = st.binary(min_size=32, max_size=32)
MEASUREMENT = HASH | st.binary(min_size=48, max_size=48)
NUMBER = st.integers(0, MAX_INTEGER)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LAYERS = st.lists(st.builds(Layer, st.sampled_from(LayerName), st.sampled_from(LayerState), TEXT), max_size=3).map(
    tuple
)
OPENING = st.none() | st.builds(Opening, HASH, TEXT)
PROOFS = st.builds(Proof, st.just(Tee.SGX), st.binary(max_size=200), st.just(COLLATERAL)) | st.builds(
    Proof,
    st.just(Tee.SNP),
    st.binary(max_size=200),
    st.builds(
        SnpEndorsements,
        st.binary(min_size=1, max_size=50),
        st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=2).map(lambda ders: encode_chain(*ders)),
        st.none() | st.binary(max_size=50),
    ),
)
BUNDLES = st.builds(
    ReceiptBundle,
    receipt=st.builds(
        Receipt,
        HASH,
        HASH | st.binary(min_size=48, max_size=48),
        NUMBER,
        NUMBER,
        TEXT,
        st.none() | HASH,
        HASH,
        HASH,
        NUMBER,
    ),
    signature=st.binary(min_size=64, max_size=64),
    binding=st.builds(ReportDataBinding, HASH, HASH, HASH, st.builds(SandboxLayers, LAYERS, LAYERS)),
    proof=PROOFS,
    appraised_at=st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)).map(
        lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
    ),
    input=OPENING,
    output=OPENING,
)


@given(BUNDLES)
def test_a_file_says_what_was_put_into_it(bundle: ReceiptBundle) -> None:
    assert ReceiptBundle.parse(bundle.encode()) == bundle
    assert ReceiptBundle.parse(bundle.encode()).encode() == bundle.encode()


@given(st.binary() | st.text('{}[]":,0123456789abcdef').map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        ReceiptBundle.parse(data)


@given(st.data())
def test_any_altered_file_is_refused_or_says_the_same(desk: Desk, bundle: ReceiptBundle, data: st.DataObject) -> None:
    """One byte is changed: no such file passes for a receipt of anything else."""
    altered = bytearray(bundle.encode())
    altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    try:
        checked = check_receipt(ReceiptBundle.parse(bytes(altered)), desk.policy)
    except CasemateError:
        return
    assert checked.receipt == bundle.receipt
    assert checked.input == (bundle.input and bundle.input.content)
    assert checked.output == (bundle.output and bundle.output.content)


def members(bundle: ReceiptBundle) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle.encode())
    return found


@pytest.mark.parametrize(
    "name", ["format", "version", "receipt", "signature", "report_data", "tee", "evidence", "endorsements"]
)
def test_each_member_is_needed_and_of_its_kind(bundle: ReceiptBundle, name: str) -> None:
    body = members(bundle)
    wrongs: list[Any] = [None, 7.5, [], {}]
    for wrong in wrongs:
        with pytest.raises(WireError):
            ReceiptBundle.parse(json.dumps(body | {name: wrong}).encode())
    del body[name]
    with pytest.raises(WireError):
        ReceiptBundle.parse(json.dumps(body).encode())


@pytest.mark.parametrize("place", [(), ("receipt",), ("report_data",), ("report_data", "layers"), ("openings",)])
def test_unknown_members_are_refused(bundle: ReceiptBundle, place: tuple[str, ...]) -> None:
    body = members(bundle)
    inside = body
    for name in place:
        inside = inside[name]
    inside["more"] = 1
    with pytest.raises(WireError, match="more"):
        ReceiptBundle.parse(json.dumps(body).encode())


def test_other_versions_are_refused_by_name(bundle: ReceiptBundle) -> None:
    with pytest.raises(WireError, match="version"):
        ReceiptBundle.parse(json.dumps(members(bundle) | {"version": 1}).encode())


@pytest.mark.parametrize("layer", [{"name": "moat", "state": "applied", "detail": ""}, {"name": "uid"}, 7])
def test_unknown_layers_are_refused(bundle: ReceiptBundle, layer: object) -> None:
    body = members(bundle)
    body["report_data"]["layers"]["guest"] = [layer]
    with pytest.raises(WireError):
        ReceiptBundle.parse(json.dumps(body).encode())


def test_values_beyond_their_formats_are_refused_when_checked(desk: Desk, bundle: ReceiptBundle) -> None:
    long = replace(bundle, receipt=replace(bundle.receipt, entry="x" * 300))
    with pytest.raises(CasemateError):
        check_receipt(ReceiptBundle.parse(long.encode()), desk.policy)
