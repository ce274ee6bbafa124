"""The notary on a machine: numbers once, signatures that others can check, a key that is rotated and never told."""

import base64
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from deno import find_deno_bin
from tests.rigs.examples import EXAMPLES, BuiltExample
from tests.rigs.workshop import PolicyFor

from casemate.client import Client, EnclaveRefusedError, FunctionRefusedError
from casemate.images.functions.javascript.author_files import IMPORT_MAP
from casemate.wire.protocol.faults import Code

DIGESTS = ["ab" * 32, "cd" * 32]


def key_in(said: object) -> Ed25519PublicKey:
    assert isinstance(said, dict)
    key = load_der_public_key(base64.b64decode(said["spki"]))
    assert isinstance(key, Ed25519PublicKey)
    return key


@pytest.mark.machine
def test_numbers_are_signed_and_old_signatures_stay_good(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    notary = example("notary")
    number = client.launch(notary.image)
    enclave = client.attest(number, policy_for(notary.image))
    owner = notary.callers["owner"]
    first_key = key_in(enclave.call("public_key", None).value)
    entries = [enclave.call("register", {"sha256": each}).value for each in DIGESTS]
    for at, entry in enumerate(entries):
        assert isinstance(entry, dict)
        assert entry["line"] == f"register v1, number {at + 1}: {DIGESTS[at]}"
        first_key.verify(base64.b64decode(entry["signature"]), entry["line"].encode())
    with pytest.raises(FunctionRefusedError) as told:
        enclave.call("register", {"sha256": DIGESTS[0]})
    assert told.value.details == {"number": 1}
    with pytest.raises(EnclaveRefusedError) as refused:
        enclave.call("rotate", None)
    assert refused.value.fault.code is Code.CALLER_REFUSED
    assert enclave.call("rotate", None, caller=owner).value == 2
    third = enclave.call("register", {"sha256": "ef" * 32}).value
    assert isinstance(third, dict)
    signature, line = base64.b64decode(third["signature"]), third["line"].encode()
    key_in(enclave.call("public_key", None).value).verify(signature, line)
    with pytest.raises(InvalidSignature):
        first_key.verify(signature, line)
    client.destroy(number)


def test_the_functions_own_tests_pass() -> None:
    alone = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", f"--import-map={IMPORT_MAP}"]
    done = subprocess.run(
        [find_deno_bin(), "test", *alone, "tests/"],
        capture_output=True,
        cwd=EXAMPLES / "notary",
        env={"NO_COLOR": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    assert b"4 passed" in done.stdout
