"""A secret that goes to enclaves of one signer alone, through hosts that carry it and cannot open it."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.rigs.examples import EPOCH, Built, BuiltExample
from tests.rigs.workshop import NEEDS_LINUX, PolicyFor, exact_policy

from casemate.client import CallerKey, Client, FunctionRefusedError
from casemate.client.local import LocalMachine
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.verifier import Rule, print_policy
from casemate.wire.messages.presented_evidence import evidence_document

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

SECRET = "a key that partners share"


@dataclass(frozen=True)
class Together:
    """A keeper whose owner wants the partner's signer."""

    client: Client
    machine: LocalMachine
    keeper: Any
    owner: CallerKey
    partner: Built

    def evidence(self, number: int, nonce: str) -> dict[str, object]:
        return evidence_document(self.client.evidence(number, bytes.fromhex(nonce)))

    def ask(self, number: int) -> Any:
        """What the keeper says to evidence of that enclave."""
        nonce = self.keeper.call("nonce", None).value
        return self.keeper.call("ask", {"evidence": self.evidence(number, nonce), "nonce": nonce}).value

    def tag(self, image: Image, number: int, sealed: str) -> Any:
        enclave = self.client.attest(number, exact_policy(self.machine, image))
        return enclave.call("tag", {"sealed": sealed, "text": "hello"}).value


@pytest.fixture
def together(example: BuiltExample, client: Client, machine: LocalMachine, policy_for: PolicyFor) -> Iterator[Together]:
    keeper, partner = example("secret-for-partners/keeper"), example("secret-for-partners/partner")
    number = client.launch(keeper.image)
    enclave = client.attest(number, policy_for(keeper.image))
    signed = replace(
        exact_policy(machine, partner.image),
        mr_enclave="ANY_MRENCLAVE",
        mr_signer=frozenset({partner.image.mr_signer}),
        product_id=8,
        minimum_svn=1,
    )
    owner = keeper.callers["owner"]
    enclave.call("keep", {"secret": SECRET, "policy": print_policy(signed)}, caller=owner)
    yield Together(client, machine, enclave, owner, partner)
    client.destroy(number)


def refused(together: Together, number: int) -> str:
    with pytest.raises(FunctionRefusedError) as raised:
        together.ask(number)
    assert raised.value.code == "not-for-you"
    return rule_in(raised.value)


def rule_in(refusal: FunctionRefusedError) -> str:
    assert isinstance(refusal.details, dict)
    return str(refusal.details["rule"])


def test_a_partner_gets_the_secret_and_only_that_launch_of_it_can_use_it(together: Together) -> None:
    client, image = together.client, together.partner.image
    number, again = client.launch(image), client.launch(image)
    sealed = together.ask(number)
    assert SECRET not in sealed
    assert together.tag(image, number, sealed) == hmac.new(SECRET.encode(), b"hello", hashlib.sha256).hexdigest()
    with pytest.raises(Exception, match="cannot-open"):
        together.tag(image, again, sealed)
    client.destroy(number)
    client.destroy(again)


def test_others_get_nothing(together: Together) -> None:
    client, partner = together.client, together.partner
    stranger = build(partner.folder, DeveloperKey.generate(), epoch=EPOCH)
    for image, rule in (
        (stranger, Rule.ENCLAVE_MR_SIGNER),
        (partner.next_version(lambda text: text.replace("debug = false", "debug = true", 1)), Rule.ENCLAVE_DEBUG),
    ):
        number = client.launch(image)
        assert refused(together, number) == rule
        client.destroy(number)


def test_evidence_is_good_once(together: Together) -> None:
    number = together.client.launch(together.partner.image)
    nonce = together.keeper.call("nonce", None).value
    asked = {"evidence": together.evidence(number, nonce), "nonce": nonce}
    assert together.keeper.call("ask", asked).value
    with pytest.raises(FunctionRefusedError) as raised:
        together.keeper.call("ask", asked)
    assert rule_in(raised.value) == "nonce.drawn"
    together.client.destroy(number)


def test_nothing_is_handed_out_before_something_is_kept(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    keeper = example("secret-for-partners/keeper")
    number = client.launch(keeper.image)
    with pytest.raises(FunctionRefusedError) as raised:
        client.attest(number, policy_for(keeper.image)).call("ask", {"evidence": {}, "nonce": "0" * 64})
    assert raised.value.code == "nothing-kept"
    client.destroy(number)
