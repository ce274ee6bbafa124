"""An auction on a machine: several parties with keys of their own, one result, a receipt for each."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.examples import EXAMPLES, Built, BuiltExample, files_of
from tests.rigs.older_disk import copied, put_back
from tests.rigs.workshop import SEED, PolicyFor, exact_policy

from casemate.client import CallerKey, Client, EnclaveRefusedError, ReceiptBundle, check_receipt, connect
from casemate.client.local import LocalMachine, local_machine
from casemate.client.sync import Enclave
from casemate.wire.protocol.faults import Code

pytestmark = pytest.mark.machine

EXAMPLE = EXAMPLES / "sealed-bid-auction"
TERMS: dict[str, Any] = json.loads((EXAMPLE / "input.json").read_bytes())
EXPECTED: dict[str, Any] = json.loads((EXAMPLE / "expected.json").read_bytes())
AMOUNTS = {"ann": 700, "ben": 1200, "cleo": 900}


class Room:
    """An auction's parties before one enclave."""

    def __init__(self, auction: Built, enclave: Enclave) -> None:
        self.parties = auction.callers
        self.enclave = enclave

    def call(self, who: str, entry: str, value: Any) -> Any:
        return self.enclave.call(entry, value, caller=self.parties[who]).value

    def refusal(self, who: str, entry: str, value: Any) -> Any:
        return self.call(who, entry, value)["refused"]["code"]


def test_the_highest_bid_wins_and_every_party_gets_a_receipt(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    auction = example("sealed-bid-auction")
    policy = policy_for(auction.image)
    room = Room(auction, client.attest(client.launch(auction.image), policy))
    assert room.call("seller", "open", TERMS)["auction"] == 1
    for who, amount in AMOUNTS.items():
        assert room.call(who, "terms", {"auction": 1})["terms"] == TERMS
        assert room.call(who, "bid", {"auction": 1, "amount": amount})["replaced"] is False
    assert room.call("seller", "result", {"auction": 1})["status"] == "open"
    assert room.call("seller", "close", {"auction": 1}) == EXPECTED
    epochs = set()
    for who, key in auction.callers.items():
        result = client.attest(room.enclave.number, policy).call("result", {"auction": 1}, caller=key)
        assert result.value == EXPECTED, who
        checked = check_receipt(ReceiptBundle.parse(result.receipt.encode()), policy)
        assert checked.receipt.caller == key.public_key
        assert json.loads(checked.output or "") == EXPECTED
        state = checked.receipt.state
        assert state is not None
        assert state.recoveries == 0
        epochs.add(state.epoch)
    assert epochs == {5}  # opened, three bids, closed: all have seen one and the same state
    client.destroy(room.enclave.number)


def test_what_the_rules_do_not_allow_is_refused(example: BuiltExample, client: Client, policy_for: PolicyFor) -> None:
    auction = example("sealed-bid-auction")
    room = Room(auction, client.attest(client.launch(auction.image), policy_for(auction.image)))
    assert room.refusal("ann", "bid", {"auction": 1, "amount": 700}) == "unknown-auction"
    room.call("seller", "open", TERMS | {"rule": "first-price", "bidders": ["ann", "ben"]})
    assert room.refusal("ann", "bid", {"auction": 1, "amount": 499}) == "below-reserve"
    assert room.refusal("cleo", "bid", {"auction": 1, "amount": 700}) == "unknown-auction"
    room.call("ann", "bid", {"auction": 1, "amount": 900})
    room.call("ben", "bid", {"auction": 1, "amount": 800})
    assert room.call("ann", "bid", {"auction": 1, "amount": 800})["replaced"] is True
    closed = room.call("seller", "close", {"auction": 1})
    assert (closed["winner"], closed["price"]) == ("ben", 800)
    assert room.refusal("ann", "bid", {"auction": 1, "amount": 5000}) == "closed"
    assert room.refusal("seller", "close", {"auction": 1}) == "closed"
    room.call("seller", "open", TERMS)
    assert room.call("seller", "close", {"auction": 2})["sold"] is False
    client.destroy(room.enclave.number)


def test_late_bids_are_refused_by_the_hosts_clock(example: BuiltExample, client: Client, policy_for: PolicyFor) -> None:
    auction = example("sealed-bid-auction")
    room = Room(auction, client.attest(client.launch(auction.image), policy_for(auction.image)))
    room.call("seller", "open", TERMS | {"deadline": "2001-01-01T00:00:00Z"})
    room.call("seller", "open", TERMS | {"deadline": "9000-01-01T00:00:00Z"})
    assert room.refusal("ann", "bid", {"auction": 1, "amount": 700}) == "too-late"
    assert room.call("seller", "close", {"auction": 1})["sold"] is False
    room.call("ann", "bid", {"auction": 2, "amount": 700})
    assert room.refusal("seller", "close", {"auction": 2}) == "too-early"
    assert room.refusal("seller", "open", TERMS | {"deadline": "2016-12-31T23:59:60Z"}) == "no-such-time"
    client.destroy(room.enclave.number)


def test_nobody_but_the_named_parties_may_do_what_is_theirs(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    auction = example("sealed-bid-auction")
    room = Room(auction, client.attest(client.launch(auction.image), policy_for(auction.image)))
    room.call("seller", "open", TERMS)
    ann, seller = auction.callers["ann"], auction.callers["seller"]
    bid = {"auction": 1, "amount": 700}
    for entry, value, caller in [
        ("open", TERMS, ann),
        ("close", {"auction": 1}, ann),
        ("bid", bid, seller),
        ("bid", bid, CallerKey.generate()),
        ("bid", bid, None),
        ("result", {"auction": 1}, None),
    ]:
        with pytest.raises(EnclaveRefusedError) as refused:
            room.enclave.call(entry, value, caller=caller)
        assert refused.value.fault.code is Code.CALLER_REFUSED
    for wrong in ({"auction": 1, "amount": 0}, {"auction": 1, "amount": 7.5}, {"amount": 7}, bid | {"bidder": "ben"}):
        with pytest.raises(EnclaveRefusedError) as refused:
            room.enclave.call("bid", wrong, caller=ann)
        assert refused.value.fault.code is Code.ARGUMENTS_REFUSED
    client.destroy(room.enclave.number)


def test_bids_outlive_the_enclave_and_the_operator_sees_none(
    example: BuiltExample, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    auction = example("sealed-bid-auction")
    policy = policy_for(auction.image)
    room = Room(auction, client.attest(client.launch(auction.image), policy))
    title = "A lot that is named in no other test"
    room.call("seller", "open", TERMS | {"title": title})
    for who, amount in AMOUNTS.items():
        room.call(who, "bid", {"auction": 1, "amount": amount + 987_654_000})
    client.stop(room.enclave.number)
    client.start(room.enclave.number)
    room = Room(auction, client.attest(room.enclave.number, policy))
    assert room.call("ann", "terms", {"auction": 1})["your_bid"] == 987_654_700
    assert room.call("seller", "close", {"auction": 1})["price"] == 987_654_900
    kept = files_of(machine.state)
    assert any(path.name.startswith("records.db") and content for path, content in kept.items())
    for path, content in kept.items():
        for secret in (title.encode(), b"987654700", b"987655200", b"987654900"):
            assert secret not in content, path
    client.destroy(room.enclave.number)


def test_an_auction_that_was_set_back_is_over_whatever_the_operator_accepts(
    example: BuiltExample, tmp_path: Path
) -> None:
    auction = example("sealed-bid-auction")
    folder, backup = tmp_path / "machine", tmp_path / "backup"
    with local_machine(folder, seed=SEED) as machine, connect(machine.host_socket) as client:
        policy = exact_policy(machine, auction.image)
        room = Room(auction, client.attest(client.launch(auction.image), policy))
        room.call("seller", "open", TERMS)
        room.call("ann", "bid", {"auction": 1, "amount": 700})
    copied(folder / "host", backup)
    with local_machine(folder, seed=SEED) as machine, connect(machine.host_socket) as client:
        room = Room(auction, client.attest(client.launch(auction.image), policy))
        assert room.call("seller", "close", {"auction": 1})["price"] == 500
    put_back(backup, folder / "host")
    with local_machine(folder, seed=SEED) as machine, connect(machine.host_socket) as client:
        (state,) = machine.anchors()
        machine.accept_rollback(state.namespace, "to hold it once more")
        room = Room(auction, client.attest(client.launch(auction.image), policy))
        for who, entry, value in (
            ("ben", "bid", {"auction": 1, "amount": 701}),
            ("seller", "open", TERMS),
            ("ann", "result", {"auction": 1}),
        ):
            with pytest.raises(EnclaveRefusedError) as refused:
                room.call(who, entry, value)
            assert refused.value.fault.code is Code.STATE_ROLLED_BACK
