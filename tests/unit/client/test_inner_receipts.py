"""A chain of receipts, four enclaves deep, and what somebody may do to it on its way or in its file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.rigs.channel.rig import ALICE
from tests.rigs.client.desk import Desk

from casemate.client.errors import ReceiptRefusedError
from casemate.client.inner_receipts import check_inner, verify_chain
from casemate.client.receipts import ReceiptBundle
from casemate.enclave.keys import EnclaveKeys
from casemate.verifier import SgxPolicy
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import Receipt
from casemate.wire.protocol.inner_receipts import (
    MAX_BELOW,
    MAX_INNER,
    Accounted,
    ChainedReceipt,
    InnerCall,
    InnerReceipt,
    InnerReceipts,
    branches,
    check_committed,
    inner_hash,
)
from casemate.wire.protocol.peers import MAX_DEPTH, MAX_FAN_OUT
from casemate.wire.protocol.tee import Tee

SIGNER = b"s" * 32
Tree = tuple[InnerReceipt, ...]


class Service:
    """An enclave that answers calls of others, and its receipt key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = EnclaveKeys()
        self.answered = 0

    def answers(self, *made: tuple[InnerCall, Tree]) -> tuple[InnerCall, Tree]:
        """The receipt of a call in which these were made, and those that come with it."""
        self.answered += 1
        gathered = gather(*made)
        inner = inner_hash([call for call, _ in made]) if made else None
        receipt = Receipt(b"q" * 32, self.measurement, 1, 1, "work", None, bytes(32), bytes(32), self.answered)
        signed = receipt if inner is None else ChainedReceipt.of(receipt, inner)
        call = InnerCall(
            *(self.name, Tee.SGX, SIGNER, 3, 2, bytes(32), self.keys.receipt_key),
            receipt=receipt,
            inner=inner,
            signature=self.keys.sign(signed),
        )
        return call, gathered

    @property
    def measurement(self) -> bytes:
        return self.name.encode().ljust(32, b".")


def gather(*made: tuple[InnerCall, Tree]) -> Tree:
    kept = InnerReceipts()
    for call, below in made:
        kept.add(call, below)
    return kept.kept


def outer_of(inner: Tree) -> ChainedReceipt:
    receipt = Receipt(b"o" * 32, b"o" * 32, 1, 1, "main", None, bytes(32), bytes(32), 1)
    return ChainedReceipt.of(receipt, inner_hash([branch.call for branch in branches(inner)]))


@pytest.fixture
def chain() -> Tree:
    """B has called C, which has called D, which has called E; then B was called again, and has called nobody."""
    b, c, d, e = map(Service, ("b", "c", "d", "e"))
    return gather(b.answers(c.answers(d.answers(e.answers()))), b.answers())


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as found:
        yield found


def policies(desk: Desk, *paths: str) -> dict[str, Any]:
    assert isinstance(desk.policy, SgxPolicy)
    about: dict[str, Any] = {"mr_signer": frozenset({SIGNER}), "product_id": 3, "minimum_svn": 2}
    return {
        path: replace(desk.policy, mr_enclave=frozenset({Service(path[-1]).measurement}), **about) for path in paths
    }


def test_a_chain_of_four_is_a_tree_in_which_everybody_is_who_the_checker_demands(chain: Tree, desk: Desk) -> None:
    checked = check_inner(outer_of(chain), chain)
    assert [each.level for each in chain] == [1, 2, 3, 4, 1]
    assert checked[0].inner[0].inner[0].inner[0].service == "e"
    assert (checked[1].service, checked[1].inner, checked[1].is_whole) == ("b", (), True)
    paths = ("b", "b/c", "b/c/d", "b/c/d/e")
    verify_chain(checked, policies(desk, *paths))
    for missing in paths:
        with pytest.raises(ReceiptRefusedError, match=f"got {missing}"):
            verify_chain(checked, policies(desk, *(path for path in paths if path != missing)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mr_enclave": frozenset({bytes(32)})}, "b/c.mr-enclave"),
        ({"mr_signer": frozenset({bytes(32)})}, "b/c.mr-signer"),
        ({"product_id": 4}, "b/c.product-id"),
        ({"minimum_svn": 3}, "b/c.svn"),
        ({"config_id": frozenset({b"o" * 32 + bytes(32)})}, "b/c.config-id"),
    ],
)
def test_an_enclave_in_the_chain_that_is_another_is_named(
    chain: Tree, desk: Desk, change: dict[str, Any], words: str
) -> None:
    known = policies(desk, "b", "b/c", "b/c/d", "b/c/d/e")
    known["b/c"] = replace(known["b/c"], **change)
    with pytest.raises(ReceiptRefusedError, match=words):
        verify_chain(check_inner(outer_of(chain), chain), known)


def exchanged(chain: Tree) -> Tree:
    return (chain[4], *chain[1:4], chain[0])


def changed(chain: Tree, at: int, **change: Any) -> Tree:
    call = replace(chain[at].call, **change)
    return (*chain[:at], InnerReceipt(chain[at].level, call), *chain[at + 1 :])


HOSTILE: dict[str, Callable[[Tree], Tree]] = {
    "two exchanged": exchanged,
    "the last dropped": lambda chain: chain[:-1],
    "the first dropped": lambda chain: chain[4:],
    "order": lambda chain: (chain[4], *chain[:4]),
    "one twice": lambda chain: (*chain, chain[4]),
    "one in the middle dropped": lambda chain: (*chain[:2], InnerReceipt(3, chain[3].call), chain[4]),
    "another launch's": lambda chain: changed(chain, 4, receipt_key=EnclaveKeys().receipt_key),
    "another call's": lambda chain: changed(chain, 2, receipt=replace(chain[2].call.receipt, counter=9)),
    "another service's": lambda chain: changed(chain, 3, service="x"),
    "another signer's": lambda chain: changed(chain, 1, mr_signer=bytes(32)),
    "a later version's": lambda chain: changed(chain, 0, security_version=9),
    "one below one that names none": lambda chain: (*chain, InnerReceipt(2, chain[3].call)),
    "a level skipped": lambda chain: (*chain[:1], InnerReceipt(3, chain[1].call), *chain[2:]),
    "level 0": lambda chain: (InnerReceipt(0, chain[0].call), *chain[1:]),
    "no first level": lambda chain: (InnerReceipt(2, chain[0].call), *chain[1:]),
    "too deep": lambda chain: (*chain[:4], InnerReceipt(MAX_DEPTH + 1, chain[3].call), chain[4]),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_chain_that_somebody_has_changed_is_refused(chain: Tree, attack: str) -> None:
    with pytest.raises(ReceiptRefusedError):
        check_inner(outer_of(chain), HOSTILE[attack](chain))


def test_a_receipt_that_somebody_else_has_signed_is_refused_though_all_hashes_hold(chain: Tree) -> None:
    forged = changed(chain, 4, signature=bytes(64))
    with pytest.raises(ReceiptRefusedError, match="receipt signature"):
        check_inner(outer_of(forged), forged)


def test_one_receipt_for_two_calls_is_refused_though_the_enclave_above_says_so() -> None:
    call = Service("b").answers()
    twice = gather(call, call)
    with pytest.raises(ReceiptRefusedError, match="twice"):
        check_inner(outer_of(twice), twice)


def test_what_was_left_out_below_is_told_and_no_policy_accepts_it(chain: Tree, desk: Desk) -> None:
    short = (*chain[:2], chain[4])
    checked = check_inner(outer_of(short), short)
    assert not checked[0].inner[0].is_whole
    with pytest.raises(ReceiptRefusedError, match=r"b/c\.inner"):
        verify_chain(checked, policies(desk, "b", "b/c"))


def test_a_receipt_without_others_comes_with_none(chain: Tree) -> None:
    plain = Receipt(b"o" * 32, b"o" * 32, 1, 1, "main", None, bytes(32), bytes(32), 1)
    assert check_inner(plain, ()) == ()
    with pytest.raises(ReceiptRefusedError, match="names no others"):
        check_inner(plain, chain)


def test_what_comes_with_an_answer_is_bounded_and_those_that_the_call_has_made_are_all_there() -> None:
    b, c = Service("b"), Service("c")
    many = [b.answers(*(c.answers() for _ in range(7))) for _ in range(MAX_FAN_OUT)]
    kept = gather(*many)
    assert len(kept) <= MAX_INNER
    assert sum(each.level == 1 for each in kept) == MAX_FAN_OUT
    assert sum(each.level == 2 for each in kept) == MAX_BELOW // 7 * 7
    check_inner(outer_of(kept), kept)
    said = Accounted(b"said", kept)
    assert parse_message(encode_message(said), Accounted) == said
    with pytest.raises(WireError):
        parse_message(encode_message(Accounted(b"said", (*kept, *kept))), Accounted)


def test_a_tree_as_deep_as_can_be_is_not_deepened() -> None:
    made = Service("e").answers()
    for _ in range(MAX_DEPTH + 3):
        made = Service("d").answers(made)
    kept = gather(made)
    assert max(each.level for each in kept) <= MAX_DEPTH
    check_committed(kept, inner_hash([made[0]]))


def test_a_receipt_file_keeps_the_chain_or_leaves_it_out(chain: Tree, desk: Desk) -> None:
    bundle = desk.rig.call(desk.attest(), "echo", {}, ALICE).receipt
    assert b'"version":4' in bundle.encode()
    chained = replace(bundle, receipt=ChainedReceipt.of(bundle.receipt, bytes(32)), inner=chain)
    assert ReceiptBundle.parse(chained.encode()) == chained
    alone = chained.without_inner()
    assert ReceiptBundle.parse(alone.encode()) == alone
    with pytest.raises(WireError):
        ReceiptBundle.parse(chained.encode().replace(b'"version":5', b'"version":4'))
    with pytest.raises(WireError):
        ReceiptBundle.parse(bundle.encode().replace(b'"version":4', b'"version":5'))
