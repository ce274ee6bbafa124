"""What an enclave's keys make, judged by OpenSSL as Node brings it, and by another implementation of ML-DSA."""

import base64
import json
import subprocess
from typing import Any

import pytest
from dilithium_py.ml_dsa import ML_DSA_65

from casemate.enclave.capabilities import key_algorithms as algorithms
from casemate.wire.protocol.capabilities.keys import Algorithm

DATA = b"what is signed, \x00 and all bytes \xff"
AGREE_LABEL = b"casemate agree v1\x00"
ENCRYPT_LABEL = b"casemate encrypt v1\x00"

NODE = """
const crypto = require("node:crypto");
const given = JSON.parse(require("node:fs").readFileSync(0));
const bytes = (name) => Buffer.from(given[name], "base64");
const key = (name) => crypto.createPublicKey({ key: bytes(name), format: "der", type: "spki" });
const sha256 = (data) => crypto.createHash("sha256").update(data).digest();
const uses = {
  verify: () => crypto.verify(given.hash, bytes("data"), key("spki"), bytes("signature")),
  sign() {
    const made = crypto.generateKeyPairSync(...given.kind);
    const signature = crypto.sign(given.hash, bytes("data"), made.privateKey);
    return [made.publicKey.export({ format: "der", type: "spki" }), signature].map((each) => each.toString("base64"));
  },
  agree() {
    const made = crypto.generateKeyPairSync(...given.kind);
    const shared = crypto.diffieHellman({ privateKey: made.privateKey, publicKey: key("spki") });
    const spki = made.publicKey.export({ format: "der", type: "spki" });
    const both = [sha256(spki), sha256(bytes("spki"))].sort(Buffer.compare);
    const info = Buffer.concat([bytes("label"), ...both, bytes("info")]);
    return [spki, Buffer.from(crypto.hkdfSync("sha256", shared, "", info, 32))].map((each) => each.toString("base64"));
  },
  mac: () => crypto.createHmac("sha256", bytes("secret")).update(bytes("data")).digest("base64"),
  derive() {
    const made = crypto.hkdfSync("sha256", bytes("secret"), "", bytes("info"), given.length);
    return Buffer.from(made).toString("base64");
  },
  open() {
    const text = bytes("text"), version = text.subarray(1, 5), salt = text.subarray(5, 37);
    const info = Buffer.concat([bytes("label"), version, Buffer.from(given.name)]);
    const both = Buffer.from(crypto.hkdfSync("sha256", bytes("secret"), salt, info, 64));
    const end = text.length - 16;
    const cipher = crypto.createDecipheriv("aes-256-gcm", both.subarray(0, 32), Buffer.alloc(12));
    cipher.setAAD(bytes("associated"));
    cipher.setAuthTag(text.subarray(end));
    const data = Buffer.concat([cipher.update(text.subarray(69, end)), cipher.final()]).toString("base64");
    return [data, both.subarray(32).equals(text.subarray(37, 69))];
  },
};
console.log(JSON.stringify(uses[given.use]()));
"""


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def node(use: str, **given: Any) -> Any:
    encoded = {name: text(value) if isinstance(value, bytes) else value for name, value in given.items()}
    done = subprocess.run(
        ["node", "-e", NODE],  # noqa: S607 - node is found on the path
        input=json.dumps({"use": use, **encoded}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


SIGNING = {
    Algorithm.ED25519: (None, ["ed25519", {}]),
    Algorithm.P256: ("sha256", ["ec", {"namedCurve": "P-256"}]),
    Algorithm.P384: ("sha384", ["ec", {"namedCurve": "P-384"}]),
    Algorithm.SECP256K1: ("sha256", ["ec", {"namedCurve": "secp256k1"}]),
}
AGREEING = {
    Algorithm.X25519: ["x25519", {}],
    Algorithm.P256: ["ec", {"namedCurve": "P-256"}],
    Algorithm.P384: ["ec", {"namedCurve": "P-384"}],
}


@pytest.mark.parametrize("algorithm", SIGNING)
def test_signatures_are_good_elsewhere(algorithm: Algorithm) -> None:
    secret = algorithms.new_secret(algorithm)
    spki, signature = algorithms.public_half(algorithm, secret), algorithms.sign(algorithm, secret, DATA)
    hashed = SIGNING[algorithm][0]
    assert node("verify", hash=hashed, data=DATA, spki=spki, signature=signature) is True
    assert node("verify", hash=hashed, data=DATA + b".", spki=spki, signature=signature) is False


def test_signatures_of_ml_dsa_are_good_elsewhere() -> None:
    seed = bytes(range(32))
    theirs, _ = ML_DSA_65.key_derive(seed)
    spki = algorithms.public_half(Algorithm.ML_DSA_65, seed)
    assert spki.endswith(theirs)
    assert len(spki) == 22 + 1952
    signature = algorithms.sign(Algorithm.ML_DSA_65, seed, DATA)
    assert len(signature) == 3309
    assert ML_DSA_65.verify(theirs, DATA, signature)
    assert not ML_DSA_65.verify(theirs, DATA + b".", signature)


def test_their_signature_of_ml_dsa_is_good_here() -> None:
    seed = bytes(range(32))
    _, secret = ML_DSA_65.key_derive(seed)
    assert algorithms.verify(Algorithm.ML_DSA_65, seed, DATA, ML_DSA_65.sign(secret, DATA))


@pytest.mark.parametrize("algorithm", AGREEING)
def test_others_agree_on_the_same_secret(algorithm: Algorithm) -> None:
    secret = algorithms.new_secret(algorithm)
    spki = algorithms.public_half(algorithm, secret)
    theirs, shared = node("agree", kind=AGREEING[algorithm], spki=spki, info=b"for tests", label=AGREE_LABEL)
    assert text(algorithms.agree(algorithm, secret, base64.b64decode(theirs), b"for tests")) == shared


def test_tags_and_derived_keys_are_those_of_others() -> None:
    secret = algorithms.new_secret(Algorithm.HMAC_SHA_256)
    assert node("mac", secret=secret, data=DATA) == text(algorithms.mac(secret, DATA))
    for length in (16, 32, 1024):
        assert node("derive", secret=secret, info=b"i", length=length) == text(algorithms.derive(secret, b"i", length))


def test_a_text_opens_as_its_form_is_documented() -> None:
    secret = algorithms.new_secret(Algorithm.AES_256_GCM)
    sealed = algorithms.encrypt(secret, 7, "notes", DATA, b"beside")
    opened = node("open", secret=secret, text=sealed, name="notes", associated=b"beside", label=ENCRYPT_LABEL)
    assert opened == [text(DATA), True]
