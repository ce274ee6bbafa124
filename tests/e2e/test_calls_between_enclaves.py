"""Enclaves call each other on a whole machine, in each language: both have proved themselves, and the host relays."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, Workshop, exact_policy

from casemate.client import Client, ReceiptBundle, ReceiptRefusedError, check_receipt, connect, verify_chain
from casemate.client.local import LocalMachine
from casemate.images.image import Image
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

SHOP_PRODUCT, BILLING_PRODUCT = 4, 3
ANYONE: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}

BILLING = {
    Engine.JAVASCRIPT: """
export function charge({ amount }, context) {
    if (amount > 100) throw context.refuse("too-much", { most: 100 });
    if (amount < 0) throw new Error("a secret of billing's");
    return { charged: amount, caller: context.caller };
}
export function spin() { for (;;); }
export const hidden = () => "nobody calls this";
""",
    Engine.PYTHON: """
def charge(input, context):
    if input["amount"] > 100:
        raise context.refuse("too-much", {"most": 100})
    if input["amount"] < 0:
        raise ValueError("a secret of billing's")
    caller = context.caller
    return {
        "charged": input["amount"],
        "caller": caller and {"name": caller.name, "key": caller.key, "enclave": caller.enclave},
    }

def spin(input, context):
    while True:
        pass

def hidden(input, context):
    return "nobody calls this"
""",
}
SHOP = {
    Engine.JAVASCRIPT: """
export function main({ service = "billing", operation = "charge", argument, times = 1 }, context) {
    try {
        let said;
        for (let turn = 0; turn < times; turn += 1) said = context.call(service, operation, argument);
        return { said };
    } catch (error) {
        const { name, message, details = null, service = null } = error;
        return { error: name === "TypeError" ? "guest-error" : name, words: message, details, service };
    }
}
""",
    Engine.PYTHON: """
from casemate.guest import EnclaveError

def main(input, context):
    try:
        for _ in range(input.get("times", 1)):
            said = context.call(
                input.get("service", "billing"), input.get("operation", "charge"), input.get("argument")
            )
        return {"said": said}
    except EnclaveError as error:
        return {
            "error": error.code, "words": str(error), "details": getattr(error, "details", None),
            "service": getattr(error, "service", None),
        }
""",
}


def signer_demand(product_id: int, least: int = 1) -> dict[str, Any]:
    return {"mrsigner": "same", "product_id": product_id, "min_security_version": least}


def billing_image(workshop: Workshop, engine: Engine, **more: Any) -> Image:
    entries = {
        "charge": {**ANYONE, "callers": ["shop"]},
        "spin": {**ANYONE, "callers": ["shop"]},
        "hidden": ANYONE,
    }
    given = {
        "product_id": BILLING_PRODUCT,
        "errors": {"too-much": {"reason": "That is too much.", "details": ANYTHING_OUT}},
        "callers": {"shop": {"enclave": signer_demand(SHOP_PRODUCT)}},
        **more,
    }
    return replace(workshop.image(BILLING[engine], engine=engine, entries=entries, **given), name="billing")


def shop_image(workshop: Workshop, engine: Engine, **more: Any) -> Image:
    uses = {"billing": {**signer_demand(BILLING_PRODUCT), "operations": ["charge", "spin"]}}
    given = {"product_id": SHOP_PRODUCT, "uses": uses, "time_ms": 5000, "receipt_inner": True, **more}
    return replace(workshop.image(SHOP[engine], engine=engine, **given), name="shop")


class Market(NamedTuple):
    client: Client
    machine: LocalMachine
    workshop: Workshop
    billing: Image
    shop: Image
    numbers: dict[str, int]
    enclave: Any

    def buys(self, argument: Any = None, **more: Any) -> Any:
        return self.enclave.call("main", {"argument": argument, **more}).value

    def another_shop(self, engine: Engine, *, service: str = "billing", **more: Any) -> Any:
        """What another shop gets that calls."""
        image = shop_image(self.workshop, engine, **more)
        number = self.client.launch(replace(image, name="another-shop"), temporary=True)
        try:
            enclave = self.client.attest(number, exact_policy(self.machine, image))
            return enclave.call("main", {"argument": {"amount": 1}, "service": service}).value
        finally:
            self.client.destroy(number)

    def against(self, image: Image) -> Any:
        """What another shop gets whose alias the host has bound to an enclave of this image."""
        number = self.client.launch(replace(image, name="wrong"), temporary=True)
        shop = shop_image(self.workshop, Engine.JAVASCRIPT)
        bound = self.client.launch(replace(shop, name="another-shop"), temporary=True)
        try:
            self.machine.bind(bound, "billing", str(number))
            enclave = self.client.attest(bound, exact_policy(self.machine, shop))
            return enclave.call("main", {"argument": {"amount": 1}}).value
        finally:
            self.client.destroy(bound)
            self.client.destroy(number)


@pytest.fixture(scope="module")
def market(machine: LocalMachine, workshop: Workshop, engine: Engine) -> Iterator[Market]:
    """A shop in one language that uses a billing service in the other."""
    other = Engine.PYTHON if engine is Engine.JAVASCRIPT else Engine.JAVASCRIPT
    billing, shop = billing_image(workshop, other), shop_image(workshop, engine)
    with connect(machine.host_socket) as client:
        numbers = {"billing": client.launch(billing), "shop": client.launch(shop)}
        enclave = client.attest(numbers["shop"], exact_policy(machine, shop))
        yield Market(client, machine, workshop, billing, shop, numbers, enclave)
        for number in numbers.values():
            client.destroy(number)


def test_the_called_one_knows_who_calls_and_the_caller_gets_the_result(market: Market) -> None:
    said = market.buys({"amount": 5}, times=3)["said"]
    assert said["charged"] == 5
    caller = said["caller"]
    assert caller["name"] == "shop"
    assert caller["key"].startswith("enclave:")
    assert caller["enclave"] == {
        "tee": "sgx",
        "measurement": market.shop.mr_enclave.hex(),
        "mr_signer": caller["enclave"]["mr_signer"],
        "product_id": SHOP_PRODUCT,
        "security_version": 1,
        "debug": False,
        "deployment": bytes(32).hex(),
    }


def test_the_client_has_the_receipts_of_the_calls_that_its_call_has_made(market: Market) -> None:
    result = market.enclave.call("main", {"argument": {"amount": 5}, "times": 3})
    kept = ReceiptBundle.parse(result.receipt.encode())
    policy = exact_policy(market.machine, market.shop)
    checked = check_receipt(kept, policy)
    assert [each.call.receipt.entry for each in checked.inner] == ["charge"] * 3
    counters = [each.call.receipt.counter for each in checked.inner]
    assert counters == list(range(counters[0], counters[0] + 3))
    verify_chain(checked.inner, {"billing": exact_policy(market.machine, market.billing)})
    with pytest.raises(ReceiptRefusedError, match=r"billing\.mr-enclave"):
        verify_chain(checked.inner, {"billing": policy})
    with pytest.raises(ReceiptRefusedError):
        check_receipt(replace(kept, inner=kept.inner[1:]), policy)
    refused = market.enclave.call("main", {"argument": {"amount": 101}})
    assert [each.call.receipt.error for each in refused.receipt.inner] == ["too-much"]


def test_a_refusal_of_the_called_ones_is_the_callers_to_handle(market: Market) -> None:
    said = market.buys({"amount": 101})
    assert said == {"error": "too-much", "words": "That is too much.", "details": {"most": 100}, "service": "billing"}


def test_a_failure_of_the_called_ones_tells_nothing_of_its_secrets(market: Market) -> None:
    said = market.buys({"amount": -1})
    assert said["error"] == "guest-error"
    assert "secret" not in said["words"]


def test_the_called_one_has_no_more_time_than_its_caller(market: Market) -> None:
    said = market.buys(None, operation="spin")
    assert said["error"] == "time-limit"
    assert market.buys({"amount": 1})["said"]["charged"] == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"service": "bank"}, "casemate.toml has no [uses.bank], there are: billing"),
        ({"operation": "hidden"}, "operations of [uses.billing] in casemate.toml are charge, spin, not hidden"),
    ],
)
def test_what_the_manifest_does_not_name_cannot_be_called(market: Market, asked: dict[str, str], words: str) -> None:
    said = market.buys(None, **asked)
    assert said["error"] == "guest-error"
    assert words in said["words"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an older version": ({"least": 2}, "enclave.svn: got 1, want 2 or above"),
    "another product": ({"product_id": 9}, "enclave.product-id: got 3, want 9"),
    "another signer": ({"mrsigner": "ab" * 32}, "enclave.mr-signer"),
    "another code": ({"mrenclave": "cd" * 32}, "enclave.mr-enclave"),
    "another owner's": ({"owner": "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, "enclave.config-id"),
}


def wrong_demand(*, least: int = 1, product_id: int = BILLING_PRODUCT, **more: Any) -> dict[str, Any]:
    if "mrenclave" in more:
        return more
    if "owner" in more:
        more["deployment"] = "billing"
    return {**signer_demand(product_id, least), **more}


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_what_the_manifest_demands_is_told_nothing(market: Market, case: str) -> None:
    demand, rule = WRONG[case]
    uses = {"billing": {**wrong_demand(**demand), "operations": ["charge"]}}
    said = market.another_shop(Engine.JAVASCRIPT, uses=uses)
    assert said["error"] == "peer-refused"
    assert rule in said["words"]


def test_a_debug_build_of_the_same_code_is_refused(market: Market) -> None:
    said = market.against(billing_image(market.workshop, Engine.JAVASCRIPT, debug=True))
    assert said["error"] == "peer-refused"
    assert "enclave.debug: got DEBUG, want no DEBUG" in said["words"]


def test_an_alias_that_is_bound_to_a_service_of_another_kind_is_refused(market: Market) -> None:
    said = market.against(replace(market.shop, name="other"))
    assert said["error"] == "peer-refused"
    assert "enclave.product-id: got 4, want 3" in said["words"]


def test_a_caller_that_the_called_one_does_not_name_is_refused_there(market: Market) -> None:
    said = market.another_shop(Engine.JAVASCRIPT, product_id=77)
    assert said["error"] == "caller-refused"
    assert said["service"] == "billing"


def test_an_alias_that_means_nobody_is_told(market: Market) -> None:
    uses = {"nobody": {**signer_demand(BILLING_PRODUCT), "operations": ["charge"]}}
    said = market.another_shop(Engine.JAVASCRIPT, uses=uses, service="nobody")
    assert said["error"] == "unavailable"
    assert "nobody" in said["words"]


def test_a_called_one_that_was_started_anew_is_appraised_anew(market: Market) -> None:
    """Nobody can tell whether a call in the old session was carried out, so it is not made twice."""
    assert market.buys({"amount": 1})["said"]["charged"] == 1
    market.client.stop(market.numbers["billing"])
    said = market.buys({"amount": 1})
    assert said["error"] == "unavailable"
    assert "whether it was carried out, nobody can tell" in said["words"]
    market.client.start(market.numbers["billing"])
    assert market.buys({"amount": 2})["said"]["charged"] == 2


def test_a_client_is_no_enclave(market: Market) -> None:
    with connect(market.machine.host_socket) as client:
        billing = client.attest(market.numbers["billing"], exact_policy(market.machine, market.billing))
        assert billing.call("hidden", {}).value == "nobody calls this"
        with pytest.raises(Exception, match="does not admit"):
            billing.call("charge", {"amount": 1})
