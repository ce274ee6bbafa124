"""A service on a whole machine, in each language: hooks, a configuration of its owner's, and what it says of itself."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, Workshop, exact_policy

from casemate.client import Client, connect
from casemate.client.caller_keys import CallerKey
from casemate.client.configurations import sign_configuration
from casemate.client.errors import EnclaveRefusedError
from casemate.client.local import LocalMachine
from casemate.images.image import Image
from casemate.wire.messages.service_life import Health, HealthIs
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

OWNER = CallerKey.generate()

SOURCES = {
    Engine.JAVASCRIPT: """
let prepared = null;
const lived = (name, { state }) => state.put("lived", [...(state.get("lived") ?? []), name]);
export function initialize(config) { prepared = config.greeting; }
export function start(config, context) { lived(`start ${config.greeting}`, context); }
export function reconfigure(config, context) {
    lived(`reconfigure ${config.greeting}`, context);
    if (config.greeting === "no") throw new Error("no");
}
export function health(config, { state }) {
    const ill = state.get("ill") ?? false;
    return { status: ill ? "degraded" : "ready", reason: ill ? "it was told to be" : "" };
}
export function shutdown(config, context) { lived("shutdown", context); }
export function read(input, context) {
    const config = context.config;
    config.greeting += "!";
    return { prepared, greeting: context.config.greeting, lived: context.state.get("lived") };
}
export function ail(input, { state }) { state.put("ill", input); return null; }
""",
    Engine.PYTHON: """
prepared = None

def lived(name, context):
    context.state.put("lived", [*context.state.get("lived", []), name])

def initialize(config, context):
    global prepared
    prepared = config["greeting"]

def start(config, context):
    lived(f"start {config['greeting']}", context)

def reconfigure(config, context):
    lived(f"reconfigure {config['greeting']}", context)
    if config["greeting"] == "no":
        raise ValueError("no")

def health(config, context):
    ill = context.state.get("ill", False)
    return {"status": "degraded" if ill else "ready", "reason": "it was told to be" if ill else ""}

def shutdown(config, context):
    lived("shutdown", context)

def read(input, context):
    config = context.config
    config["greeting"] += "!"
    return {"prepared": prepared, "greeting": context.config["greeting"], "lived": context.state.get("lived")}

def ail(input, context):
    context.state.put("ill", input)
""",
}
SCHEMA = {
    "type": "object",
    "properties": {"greeting": {"type": "string", "maxLength": 20}},
    "required": ["greeting"],
    "additionalProperties": False,
}


def service_image(workshop: Workshop, engine: Engine) -> Image:
    anyone: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image(
        SOURCES[engine],
        engine=engine,
        entries={"read": {**anyone, "kind": "query"}, "ail": {**anyone, "kind": "command"}},
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 64},
        service={
            "version": "1.0.0",
            "family": "custom",
            "description": "Greets.",
            "configuration": SCHEMA,
            "hooks": ["initialize", "start", "reconfigure", "health", "shutdown"],
        },
        time_ms=5000,
    )


class Greeter(NamedTuple):
    client: Client
    machine: LocalMachine
    image: Image
    number: int

    def call(self, entry: str, value: Any = None) -> Any:
        return self.client.attest(self.number, exact_policy(self.machine, self.image)).call(entry, value).value

    def configure(self, greeting: object, version: int, *, owner: CallerKey = OWNER) -> int:
        signed = sign_configuration("test", {"greeting": greeting}, owner, version)  # type: ignore[dict-item]
        return self.machine.configure(self.number, signed)

    def state(self) -> HealthIs:
        return self.machine.service_health(self.number)


@pytest.fixture(scope="module")
def greeter(machine: LocalMachine, workshop: Workshop, engine: Engine) -> Iterator[Greeter]:
    image = service_image(workshop, engine)
    with connect(machine.host_socket) as client:
        number = client.launch(image, owner=OWNER.public_key)
        yield Greeter(client, machine, image, number)
        client.destroy(number)


def test_a_service_lives_by_its_owners_configuration(greeter: Greeter) -> None:
    with pytest.raises(EnclaveRefusedError, match="casemate service configure"):
        greeter.call("read")
    assert greeter.state().state is Health.UNCONFIGURED
    for greeting, owner, code in (
        ("hi", CallerKey.generate(), Code.CALLER_REFUSED),
        (5, OWNER, Code.ARGUMENTS_REFUSED),
    ):
        with pytest.raises(FaultError) as refused:
            greeter.configure(greeting, 1, owner=owner)
        assert refused.value.fault.code is code
    assert greeter.configure("hi", 1) == 1
    assert greeter.call("read") == {"prepared": "hi", "greeting": "hi", "lived": ["start hi"]}
    with pytest.raises(FaultError, match="hook reconfigure has failed"):
        greeter.configure("no", 2)
    assert greeter.configure("hello", 2) == 2
    lived = ["start hi", "reconfigure hello"]
    assert greeter.call("read") == {"prepared": "hello", "greeting": "hello", "lived": lived}
    with pytest.raises(FaultError) as refused:
        greeter.configure("hi", 1)
    assert refused.value.fault.code is Code.WRONG_STATE

    assert greeter.state() == HealthIs(Health.READY, "")
    greeter.call("ail", True)
    assert greeter.state() == HealthIs(Health.DEGRADED, "it was told to be")

    greeter.client.stop(greeter.number)
    greeter.client.start(greeter.number)
    lived += ["shutdown", "start hello"]
    assert greeter.call("read") == {"prepared": "hello", "greeting": "hello", "lived": lived}
