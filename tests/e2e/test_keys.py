"""Keys that an enclave keeps, used by functions in each language: what they make is good outside, they stay inside."""

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, Workshop, exact_policy

from casemate.client import Client, EnclaveRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.images.image import Image
from casemate.wire.protocol.capabilities.keys import ALGORITHMS
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

SOURCES = {
    Engine.JAVASCRIPT: """
const bytes = (value) => value?.base64 === undefined ? value : Uint8Array.fromBase64(value.base64);
const told = (value) => value instanceof Uint8Array ? { base64: value.toBase64() } : value;
export function main({ use, given, options }, context) {
    try {
        const said = context.keys[use](...given.map(bytes), ...(options === undefined ? [] : [options]));
        return { said: use === "public" ? { ...said, spki: told(said.spki) } : told(said) };
    } catch (error) {
        return { error: error.name, words: error.message };
    }
}
export function failing(name, context) {
    context.keys.rotate(name);
    throw new Error("after it has been rotated");
}
""",
    Engine.PYTHON: """
import base64
from casemate.guest import EnclaveError

def told(value):
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

def main(input, context):
    def of(value):
        return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
    try:
        said = getattr(context.keys, input["use"])(*map(of, input["given"]), **input.get("options", {}))
        if input["use"] == "public":
            said = said._asdict() | {"spki": told(said.spki)}
        return {"said": told(said)}
    except EnclaveError as error:
        return {"error": error.code, "words": str(error)}
    except (TypeError, ValueError) as error:
        return {"error": "TypeError", "words": str(error)}

def failing(name, context):
    context.keys.rotate(name)
    raise RuntimeError("after it has been rotated")
""",
}
ENTRY: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
KEYS = {
    f"{purpose}-{algorithm}": {"purpose": str(purpose), "algorithm": str(algorithm)}
    for purpose, able in ALGORITHMS.items()
    for algorithm in able
}
STATE = {"policy": "mrenclave", "recovery": "never", "max_kib": 64}
BOX, TAGS, SEEDS = "encrypt-aes-256-gcm", "mac-hmac-sha-256", "derive-hkdf-sha-256"


class Keeper(NamedTuple):
    client: Client
    machine: LocalMachine
    image: Image
    enclave: Any

    def ask(self, use: str, *given: Any, **options: Any) -> Any:
        """What the function says that uses a key."""
        asked: dict[str, Any] = {"use": use, "given": [_told(value) for value in given]}
        return self.enclave.call("main", asked | ({"options": options} if options else {})).value

    def use(self, use: str, *given: Any, **options: Any) -> Any:
        """What a use gives."""
        said = self.ask(use, *given, **options)["said"]
        if isinstance(said, dict):
            return base64.b64decode(said["base64"]) if "base64" in said else said
        return said

    def spki(self, name: str) -> bytes:
        return base64.b64decode(self.use("public", name)["spki"]["base64"])


def _told(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def keeper(machine: LocalMachine, workshop: Workshop, engine: Engine) -> Iterator[Keeper]:
    entries = {"main": ENTRY, "failing": ENTRY}
    image = workshop.image(SOURCES[engine], engine=engine, entries=entries, keys=KEYS, state=STATE, time_ms=5000)
    with connect(machine.host_socket) as client:
        number = client.launch(image)
        yield Keeper(client, machine, image, client.attest(number, exact_policy(machine, image)))
        client.destroy(number)


@pytest.mark.parametrize("data", ["text, é", b"bytes \x00\xff"])
def test_what_keys_make_is_good_outside(data: str | bytes, keeper: Keeper) -> None:
    raw = data.encode() if isinstance(data, str) else data
    for name in (name for name in KEYS if name.startswith("sign")):
        signature = keeper.use("sign", name, data)
        match load_der_public_key(keeper.spki(name)):
            case EllipticCurvePublicKey() as key:
                key.verify(signature, raw, ECDSA(SHA384() if name.endswith("384") else SHA256()))
            case Ed25519PublicKey() | MLDSA65PublicKey() as key:
                key.verify(signature, raw)
                with pytest.raises(InvalidSignature):
                    key.verify(signature, raw + b".")
            case other:
                raise AssertionError(other)
        assert keeper.use("verify", name, data, signature) is True
        assert keeper.use("verify", name, raw + b".", signature) is False
    tag = keeper.use("mac", TAGS, data)
    assert keeper.use("verify", TAGS, data, tag) is True
    text = keeper.use("encrypt", BOX, data, "beside")
    assert keeper.use("decrypt", BOX, text, b"beside") == raw
    assert keeper.ask("decrypt", BOX, text, "other")["error"] == "cannot-open"


def test_keys_outlive_their_enclave_and_old_versions_go_on_until_they_are_retired(keeper: Keeper) -> None:
    client, old = keeper.client, keeper.use("sign", "sign-p256", "data")
    text, derived = keeper.use("encrypt", BOX, "data"), keeper.use("derive", SEEDS, "info", length=48)
    number = client.launch(keeper.image)
    client.stop(number)
    client.start(number)
    later = keeper._replace(enclave=client.attest(number, exact_policy(keeper.machine, keeper.image)))
    assert later.use("verify", "sign-p256", "data", old)
    assert later.use("decrypt", BOX, text) == b"data"
    assert later.use("derive", SEEDS, "info", length=48) == derived
    newest = later.use("rotate", "sign-p256")
    assert later.use("public", "sign-p256")["version"] == newest
    assert later.use("verify", "sign-p256", "data", old)
    with pytest.raises(EnclaveRefusedError):
        later.enclave.call("failing", "sign-p256")
    assert later.use("public", "sign-p256")["version"] == newest + 1  # though that call has failed
    for version in later.use("public", "sign-p256")["versions"][:-1]:
        assert later.use("retire", "sign-p256", version) is True
    assert later.use("verify", "sign-p256", "data", old) is False
    assert keeper.use("verify", "sign-p256", "data", old) is False  # the same keys, in another instance
    client.destroy(number)


def test_two_keys_agree(keeper: Keeper) -> None:
    other = keeper.spki("agree-x25519")
    assert keeper.use("agree", "agree-x25519", other, "info") == keeper.use("agree", "agree-x25519", other, b"info")
    assert keeper.ask("agree", "agree-p256", other)["error"] in ("TypeError", "guest-error")


@pytest.mark.parametrize(
    ("use", "given", "options"),
    [
        ("sign", ["none", "data"], {}),
        ("mac", ["sign-p256", "data"], {}),
        ("sign", [7, "data"], {}),
        ("sign", ["sign-p256", 7], {}),
        ("sign", ["sign-p256", [1, 2]], {}),
        ("derive", [SEEDS, "info"], {"length": 5000}),
        ("derive", [SEEDS, "info"], {"length": "32"}),
        ("derive", [SEEDS, "info"], {"version": -1}),
        ("derive", [SEEDS, "info"], {"version": 99}),
        ("public", [BOX], {}),
        ("retire", ["sign-p384", 1], {}),
        ("agree", ["agree-p256", b"no key"], {}),
    ],
)
def test_a_mistake_is_an_exception_and_the_guest_goes_on(
    use: str, given: list[Any], options: dict[str, Any], keeper: Keeper
) -> None:
    said = keeper.ask(use, *given, **options)
    assert said["error"] in ("TypeError", "guest-error")
    assert said["words"]


def test_keys_need_a_table(machine: LocalMachine, workshop: Workshop, engine: Engine, client: Client) -> None:
    image = workshop.image(SOURCES[engine], engine=engine)
    number = client.launch(image)
    enclave = client.attest(number, exact_policy(machine, image))
    said = enclave.call("main", {"use": "sign", "given": ["k", "data"]}).value
    assert "[keys.NAME]" in said["words"]
    client.destroy(number)


def test_another_image_has_other_keys(keeper: Keeper, workshop: Workshop, engine: Engine) -> None:
    image = workshop.image(SOURCES[engine] + "\n", engine=engine, keys=KEYS, state=STATE, time_ms=5000)
    number = keeper.client.launch(image)
    other = keeper._replace(image=image, enclave=keeper.client.attest(number, exact_policy(keeper.machine, image)))
    assert other.spki("sign-ed25519") != keeper.spki("sign-ed25519")
    text = keeper.use("encrypt", BOX, "data")
    assert other.ask("decrypt", BOX, text)["error"] == Code.CANNOT_OPEN
    keeper.client.destroy(number)
