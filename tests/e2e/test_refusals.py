"""Functions that refuse with errors of their own, on a whole machine, with each engine."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.ra_tls_clients import POST, curl, url
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, PolicyFor, Workshop
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.client import Client, EnclaveRefusedError, FunctionRefusedError, check_receipt
from casemate.client.local import LocalMachine
from casemate.images.image import Image
from casemate.verifier import print_policy
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

SOURCES = {
    Engine.JAVASCRIPT: """
export function spend(amount, context) {
    const spent = (context.state.get("spent") ?? 0) + amount;
    context.state.put("spent", spent);
    if (amount < 0) throw context.refuse("negative");
    if (spent > 10) throw context.refuse("budget-spent", { left: 10 - spent + amount, who: "nobody's business" });
    return spent;
}

export async function* flow(input, context, chunks) {
    for await (const chunk of chunks) {
        if (chunk.length > 3) throw context.refuse("budget-spent", { left: 3 });
        yield chunk;
    }
}

export function refuses(left, context) {
    throw context.refuse("budget-spent", { left });
}

export function typed(input, context) {
    throw context.refuse("budget-spent", { left: "a secret" });
}
""",
    Engine.PYTHON: """
def spend(amount, context):
    spent = context.state.get("spent", 0) + amount
    context.state.put("spent", spent)
    if amount < 0:
        raise context.refuse("negative")
    if spent > 10:
        raise context.refuse("budget-spent", {"left": 10 - spent + amount, "who": "nobody's business"})
    return spent


async def flow(input, context, chunks):
    async for chunk in chunks:
        if len(chunk) > 3:
            raise context.refuse("budget-spent", {"left": 3})
        yield chunk


def refuses(left, context):
    raise context.refuse("budget-spent", {"left": left})


def typed(input, context):
    raise context.refuse("budget-spent", {"left": "a secret"})
""",
}
DETAILS = {"type": "object", "properties": {"left": {"type": "integer"}}, "required": ["left"]}
ERRORS = {"negative": "Nothing can be given back.", "budget-spent": {"reason": "It is spent.", "details": DETAILS}}


@pytest.fixture(scope="module")
def image(workshop: Workshop, engine: Engine) -> Image:
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image(
        SOURCES[engine],
        engine=engine,
        entries={"spend": entry, "flow": entry | {"stream": True}, "refuses": entry, "typed": entry},
        errors=ERRORS,
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 16},
        ra_tls=True,
    )


def test_a_function_refuses_and_keeps_nothing(client: Client, image: Image, policy_for: PolicyFor) -> None:
    number, policy = client.launch(image), policy_for(image)
    enclave = client.attest(number, policy)
    assert enclave.call("spend", 8).value == 8
    with pytest.raises(FunctionRefusedError) as caught:
        enclave.call("spend", 3)
    assert (caught.value.code, caught.value.details) == ("budget-spent", {"left": 2})
    assert caught.value.receipt is not None
    checked = check_receipt(caught.value.receipt, policy)
    assert checked.receipt.state is not None
    assert (checked.receipt.error, checked.receipt.state.epoch) == ("budget-spent", 1)
    with pytest.raises(FunctionRefusedError, match="negative: Nothing can be given back"):
        enclave.call("spend", -1)
    assert enclave.call("spend", 2).value == 10
    with pytest.raises(EnclaveRefusedError) as refused:
        enclave.call("typed", None)
    assert refused.value.fault.code is Code.RESULT_REFUSED
    assert "a secret" not in str(refused.value)
    stream = enclave.stream("flow", None, [b"abc", b"abcd", b"abc"])
    with pytest.raises(FunctionRefusedError) as caught:
        list(stream)
    assert (caught.value.details, stream.received) == ({"left": 3}, 3)
    client.destroy(number)


def test_ra_tls_tells_a_refusal_as_a_problem(client: Client, image: Image) -> None:
    number = client.launch(image)
    port = next(shown.ra_tls_port for shown in client.enclaves() if shown.enclave == number)
    assert port is not None
    status, content_type, answer = curl(*POST, "10", url(port, "/entry/refuses"))
    assert (status, content_type) == (422, "application/problem+json")
    assert (answer["code"], answer["detail"]) == ("function-refused", "It is spent.")
    assert answer["error"] == {"code": "budget-spent", "reason": "It is spent.", "details": {"left": 10}}
    client.destroy(number)


def test_the_command_line_shows_a_refusal_and_keeps_its_receipt(
    machine: LocalMachine, client: Client, image: Image, policy_for: PolicyFor, tmp_path: Path
) -> None:
    number = client.launch(image)
    given, policy, receipt = (tmp_path / name for name in ("input.json", "policy.toml", "receipt.json"))
    given.write_text("10")
    policy.write_text(print_policy(policy_for(image)))

    def casemate(*arguments: object) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments)])

    call = ("call", number, "refuses", "--input", given, "--policy", policy, "--state", machine.state)
    said = casemate(*call, "--receipt", receipt)
    assert said.exit_code == 6
    assert 'budget-spent: It is spent. {"left": 10}' in said.stderr
    document = json.loads(casemate(*call, "--json").stdout)["error"]
    assert (document["kind"], document["code"], document["details"]) == (
        "FunctionRefusedError",
        "budget-spent",
        {"left": 10},
    )
    shown = casemate("receipt", "verify", receipt, "--policy", policy)
    assert shown.exit_code == 0
    assert "by the function, with its error budget-spent" in shown.stdout
    verified = json.loads(casemate("receipt", "verify", receipt, "--policy", policy, "--json").stdout)
    assert verified["receipt"]["error"] == "budget-spent"
    client.destroy(number)
