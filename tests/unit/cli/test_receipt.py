import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.rigs.command_line import Casemate

from casemate.client.proof import Proof
from casemate.client.receipts import Opening, ReceiptBundle
from casemate.testing.forge import honest
from casemate.verifier import BoundValues, print_policy
from casemate.wire.protocol.call import Receipt, StateMark
from casemate.wire.protocol.inner_receipts import ChainedReceipt, InnerCall, InnerReceipt, inner_hash
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.quote import Quote


@pytest.fixture
def receipt(tmp_path: Path, now: datetime) -> Path:
    """A receipt that holds, beside the policy by which it does."""
    import hashlib

    key = Ed25519PrivateKey.generate()
    forgery = honest(now)
    forgery.bound = BoundValues(forgery.bound.hpke_key, key.public_key().public_bytes_raw(), forgery.bound.layers)
    forged = forgery.sign()
    quote = forged.evidence.quote
    given, answered = Opening(bytes(32), '{"q":"whale"}'), Opening(bytes(range(32)), '{"found":3}')
    said = Receipt(
        quote_hash=hashlib.sha256(quote).digest(),
        measurement=Quote.parse(quote).body.mr_enclave,
        session=1,
        sequence=1,
        entry="search",
        caller=None,
        input_commitment=given.commitment(),
        output_commitment=answered.commitment(),
        counter=7,
    )
    binding = ReportDataBinding(forgery.bound.hpke_key, forgery.bound.receipt_key, forgery.nonce, forgery.bound.layers)
    proof = Proof(Tee.SGX, quote, forged.collateral)
    bundle = ReceiptBundle(said, key.sign(said.signed_bytes()), binding, proof, now, given, answered)
    path = tmp_path / "receipt.json"
    path.write_bytes(bundle.encode())
    (tmp_path / "policy.toml").write_text(print_policy(replace(forged.policy, report_data="FRESH_NONCE")))
    return path


def _signed_with(path: Path, state: StateMark) -> None:
    """The receipt as it would be had the call touched a state; its signature holds no more."""
    bundle = ReceiptBundle.parse(path.read_bytes())
    path.write_bytes(replace(bundle, receipt=replace(bundle.receipt, state=state)).encode())


def test_recoveries_of_the_state_are_a_warning(casemate: Casemate, receipt: Path) -> None:
    _signed_with(receipt, StateMark(epoch=41, recoveries=0))
    said = casemate("receipt", "show", receipt)
    assert "commit 41" in said.out
    assert "warning" not in said.err
    _signed_with(receipt, StateMark(epoch=41, recoveries=2))
    said = casemate("receipt", "show", receipt)
    assert "after 2 recoveries" in said.out
    assert "accepted 2 times" in said.err
    shown = casemate("receipt", "show", receipt, "--json")
    assert shown.json["receipt"]["state"] == {"epoch": 41, "recoveries": 2}
    assert "warning" in shown.err


def _alter(path: Path, *keys: str, to: object) -> None:
    document = json.loads(path.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(document))


def test_a_good_receipt_holds(casemate: Casemate, receipt: Path) -> None:
    said = casemate("receipt", "verify", receipt, "--policy", receipt.with_name("policy.toml"), "--json")
    assert said.code == 0
    assert said.json["holds"] is True
    assert said.json["output"] == '{"found":3}'
    assert said.json["receipt"]["counter"] == 7
    person = casemate("receipt", "verify", receipt, "--policy", receipt.with_name("policy.toml"))
    assert "the receipt holds" in person.out
    assert "number 7" in person.out


def test_a_receipt_of_protocol_1_holds(casemate: Casemate) -> None:
    folder = Path(__file__).parents[2] / "rigs" / "client" / "receipts_of_protocol_1"
    for name in ("with-state", "without-state"):
        receipt = folder / f"receipt-{name}.json"
        said = casemate("receipt", "verify", receipt, "--policy", folder / "policy.toml", "--json")
        assert said.code == 0
        assert said.json["holds"] is True
        assert said.json["receipt"]["isolation"] is None
        assert "older than that" in casemate("receipt", "show", receipt).out


@pytest.mark.parametrize("isolation", Isolation)
def test_the_isolation_mode_is_shown(casemate: Casemate, receipt: Path, isolation: Isolation) -> None:
    _alter(receipt, "receipt", "isolation", to=isolation)
    assert f"{isolation}: " in casemate("receipt", "show", receipt).out
    assert casemate("receipt", "show", receipt, "--json").json["receipt"]["isolation"] == isolation
    refused = casemate("receipt", "verify", receipt, "--policy", receipt.with_name("policy.toml"), "--json")
    assert refused.code == 3, "it is signed"


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("openings", "output", "content"), '{"found":4}'),
        (("receipt", "counter"), 8),
        (("receipt", "measurement"), "00" * 32),
        (("signature",), "00" * 64),
        (("report_data", "nonce"), "00" * 32),
    ],
)
def test_an_altered_receipt_does_not(casemate: Casemate, receipt: Path, keys: tuple[str, ...], to: object) -> None:
    _alter(receipt, *keys, to=to)
    said = casemate("receipt", "verify", receipt, "--policy", receipt.with_name("policy.toml"), "--json")
    assert said.code == 3
    assert said.error["kind"] in {"ReceiptRefusedError", "RefusedError"}
    assert said.error["rule"]


def test_a_receipt_is_appraised_for_the_time_that_the_checker_names(casemate: Casemate, receipt: Path) -> None:
    arguments = ("receipt", "verify", receipt, "--policy", receipt.with_name("policy.toml"), "--at")
    assert casemate(*arguments, "2001-01-01T00:00:00Z").code == 3
    assert casemate(*arguments, "once").code == 5


def test_show_checks_nothing_and_says_so(casemate: Casemate, receipt: Path) -> None:
    _alter(receipt, "signature", to="00" * 64)
    said = casemate("receipt", "show", receipt, "--json")
    assert said.code == 0
    assert said.json["checked"] is False
    assert "not checked" in casemate("receipt", "show", receipt).out


def test_inspect_knows_receipts(casemate: Casemate, receipt: Path) -> None:
    assert casemate("inspect", receipt, "--json").json["kind"] == "receipt"


def test_what_a_receipt_opens_cannot_steer_the_terminal(casemate: Casemate, receipt: Path) -> None:
    _alter(receipt, "openings", "input", "content", to="\x1b[2J\x9b31m")
    assert "\x1b" not in casemate("receipt", "show", receipt).out


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("content", [b"", b"junk", b"{}", b'{"format":"casemate-receipt","version":2}', b"\xff" * 50])
def test_what_is_no_receipt_is_refused(casemate: Casemate, receipt: Path, command: str, content: bytes) -> None:
    receipt.write_bytes(content)
    policy = ("--policy", receipt.with_name("policy.toml")) if command == "verify" else ()
    assert casemate("receipt", command, receipt, *policy).code == 5


def test_a_receipt_of_a_gibibyte_is_refused_at_once(casemate: Casemate, receipt: Path) -> None:
    with receipt.open("wb") as file:
        file.truncate(1 << 30)
    assert casemate("receipt", "show", receipt).code == 5


def test_the_receipts_of_inner_calls_are_shown_and_each_needs_a_policy(casemate: Casemate, receipt: Path) -> None:
    policy = receipt.with_name("policy.toml")
    bundle = ReceiptBundle.parse(receipt.read_bytes())
    charge = replace(bundle.receipt, entry="charge", error="too-much")
    call = InnerCall("billing", Tee.SGX, bytes(32), 3, 2, bytes(32), bytes(32), charge, None, bytes(64))
    outer = ChainedReceipt.of(bundle.receipt, inner_hash([call]))
    receipt.write_bytes(replace(bundle, receipt=outer, inner=(InnerReceipt(1, call),)).encode())
    assert "called billing" in casemate("receipt", "show", receipt).out
    shown = json.loads(casemate("receipt", "show", receipt, "--json").out)["inner"]
    assert [(each["service"], each["entry"], each["error"]) for each in shown] == [("billing", "charge", "too-much")]
    assert casemate("receipt", "verify", receipt, "--policy", policy).code == 3
    receipt.write_bytes(bundle.encode())
    for wrong in ("billing", "=x", "billing="):
        assert casemate("receipt", "verify", receipt, "--policy", policy, "--service", wrong).code == 2
    assert casemate("receipt", "verify", receipt, "--policy", policy, "--service", f"billing={policy}").code == 0
