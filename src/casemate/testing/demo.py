"""``make demo``: attested, encrypted calls, appraised by independent verifiers too, and three attacks that are refused.

Developer's key, image and machine are created in a temporary folder.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from casemate.cli.developer_key_file import load_or_create_key
from casemate.cli.evidence.verdicts import tcb_text
from casemate.cli.images import runtime
from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import CallerKey, check_receipt, connect
from casemate.client.core import AttestedEnclave, CallSecrets
from casemate.client.local import LocalMachine, local_machine
from casemate.client.sync import Client
from casemate.images.image import Image
from casemate.images.lock import write_lock
from casemate.process.extras import check_extra
from casemate.testing.independent import available
from casemate.verifier import RefusedError, SgxPolicy
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.errors import MissingExtraError
from casemate.wire.messages.host import Call
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.sgx.collateral import Collateral

EXAMPLE = Path(__file__).parents[3] / "examples" / "keyword-search"
ENTRY = "search"
CALLERS = ("owner", "ann", "ben")
ADVISORY = "SIM-SA-00042"


class NotRefusedError(Exception):
    """An attack of this demonstration succeeded."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The demonstration's console, folder, and callers."""

    console: Console
    folder: Path
    callers: dict[str, CallerKey]
    """Callers' keys by their names in the example's manifest."""

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Prints one line: the step's name, its duration and the words that the block adds."""
        found: list[str] = []
        began = time.perf_counter()
        with self.console.status(f"{name} ..."):
            yield found
        took = (time.perf_counter() - began) * 1000
        self.console.print(f"[green]✓[/] {name:<44} [dim]{took:7.0f} ms[/]  {' '.join(found)}", highlight=False)

    def title(self, words: str) -> None:
        """A heading."""
        self.console.print(f"\n[bold]{words}[/]")

    def refused(self, attack: str, rule: str, words: str) -> None:
        """Prints that an attack was refused."""
        self.console.print(f"[green]✓[/] {attack}\n  refused by [bold red]{rule}[/]: {words}", highlight=False)


def main() -> int:
    """Runs the demonstration; 0 if every check and refusal was as expected."""
    if not EXAMPLE.is_dir():
        sys.stderr.write(f"{EXAMPLE} is missing: the demonstration runs from a checkout\n")
        return 1
    try:
        check_extra("machine", "the demonstration")
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="casemate-demo-") as folder:
        stage = Stage(console, Path(folder), {name: CallerKey.generate() for name in CALLERS})
        stage.title("An attested function")
        image = _image(stage, "keyword-search", "building the image")
        with stage.step("starting a machine: vendor, chip, host") as found:
            starting = local_machine(stage.folder / "machine")
            machine = starting.__enter__()
            found.append(f"platform {machine.status.platform}, simulated root {root_of(machine).sha256.hex()[:16]}…")
        try:
            with connect(machine.host_socket) as client:
                _show(stage, machine, client, image)
        finally:
            starting.__exit__(None, None, None)
    console.print("\nAll held. `casemate --help` and `casemate docs tour` go on from here.")
    return 0


def _show(stage: Stage, machine: LocalMachine, client: Client, image: Image) -> None:
    policy = policy_of(PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=False, debug=False))
    number = _attested_call(stage, client, image, policy, machine.status.root_certificate)
    stage.title("The same call, attacked")
    _modified_enclave(stage, client, policy)
    _replaying_host(stage, client, number, policy)
    _outdated_platform(stage, machine, client, number, policy)


def _attested_call(stage: Stage, client: Client, image: Image, policy: SgxPolicy, root: bytes) -> int:
    query: Any = json.loads((EXAMPLE / "input.json").read_text())
    with stage.step("launching it in a sandboxed process") as found:
        number = client.launch(image)
        found.append(f"enclave {number}")
    with stage.step("challenge, quote, appraisal under the policy") as found:
        enclave = client.attest(number, policy)
        found.append(f"MRENCLAVE {enclave.evidence.measurement.hex()[:16]}…, {tcb_text(enclave.evidence)}")
    _independent_word(stage, enclave.attested, root)
    with stage.step("the owner uploads, encrypted and signed") as found:
        added = enclave.call("add", {"documents": _documents()}, caller=stage.callers["owner"]).value
        found.append(f"{added['added']} documents, sealed on the host's disk")
    with stage.step(f"encrypted call of {ENTRY!r}, signed by Ann") as found:
        result = enclave.call(ENTRY, query, caller=stage.callers["ann"])
        found.append(f"{len(result.value['hits'])} documents for {query['query']!r}")
    for hit in result.value["hits"][:3]:
        snippet = hit["snippets"][0]["text"] if hit["snippets"] else ""
        stage.console.print(f"  [cyan]{hit['document']}[/] ({hit['score']}) {snippet[:100]}", markup=True)
    with stage.step("checking the receipt, as one would years later") as found:
        checked = check_receipt(result.receipt, policy)
        found.append(f"call {checked.receipt.counter} of this enclave, commitments open to input and output")
    return number


def _documents() -> list[dict[str, str]]:
    return [
        {"name": path.name, "text": path.read_bytes().decode()}
        for path in sorted((EXAMPLE / "documents").glob("*.txt"))
    ]


def _independent_word(stage: Stage, enclave: AttestedEnclave, root: bytes) -> None:
    """Has independent verifiers judge the same quote and collateral, under the simulated root and under Intel's."""
    collateral = enclave.proof.endorsements
    if not isinstance(collateral, Collateral):
        raise TypeError("the demonstration launches SGX enclaves")
    for name, judge in available().items():
        ours = judge(enclave.proof.evidence, collateral, root, datetime.now(UTC))
        intels = judge(enclave.proof.evidence, collateral, INTEL_SGX_ROOT_CA, datetime.now(UTC))
        if ours.status is None or intels.status is not None:
            raise NotRefusedError(f"{name} says {ours} under the simulated root, {intels} under Intel's")
        stage.console.print(f"  {name}: [bold]{ours.status}[/] under the simulated root, refused under Intel's")


def _modified_enclave(stage: Stage, client: Client, policy: SgxPolicy) -> None:
    image = _image(stage, "modified", "the operator changes one line of the function and builds it")
    number = client.launch(image)
    try:
        client.attest(number, policy)
    except RefusedError as refusal:
        stage.refused("a modified enclave is offered in its place", refusal.rule, f"{refusal.got}, want {refusal.want}")
    else:
        raise NotRefusedError("a modified enclave passed")
    finally:
        client.destroy(number)


def _replaying_host(stage: Stage, client: Client, number: int, policy: SgxPolicy) -> None:
    enclave = client.attest(number, policy)
    arguments = encode_json(json.loads((EXAMPLE / "input.json").read_text()))
    ann = stage.callers["ann"]
    pending = enclave.attested.seal_call(ENTRY, arguments, caller=ann, secrets=CallSecrets.fresh())
    relayed = Call(number, pending.envelope)
    pending.open(client.relay(relayed, 10))
    try:
        client.relay(relayed, 10)
    except FaultError as refusal:
        if refusal.fault.code is not Code.SEQUENCE_USED:
            raise
        stage.refused("the host relays the same sealed request again", refusal.fault.code, refusal.fault.reason)
    else:
        raise NotRefusedError("a replayed request was answered")


def _outdated_platform(stage: Stage, machine: LocalMachine, client: Client, number: int, policy: SgxPolicy) -> None:
    machine.recover_tcb(ADVISORY)
    try:
        client.attest(number, policy)
    except RefusedError as refusal:
        attack = f"the vendor publishes {ADVISORY}; the operator does not update"
        stage.refused(attack, refusal.rule, f"{refusal.got}, want {refusal.want}")
    else:
        raise NotRefusedError("an outdated platform passed")
    with stage.step("the operator updates the microcode") as found:
        found.append(machine.update_microcode())
    with stage.step("the same enclave is appraised again") as found:
        found.append(tcb_text(client.attest(number, policy).evidence))


def _image(stage: Stage, name: str, doing: str) -> Image:
    """The example as an image; under any other name, its code has one line more and so another MRENCLAVE."""
    from casemate.images.functions.build import build

    folder = stage.folder / name
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("casemate.lock", "documents", "tests"))
    with (folder / "casemate.toml").open("a") as manifest:
        manifest.writelines(f'{caller} = "{key.manifest_value}"\n' for caller, key in stage.callers.items())
    if name != EXAMPLE.name:
        with (folder / "guest" / "main.js").open("a") as main:
            main.write("// harmless, says the operator\n")
    with stage.step(doing) as found:
        here = runtime()
        write_lock(folder, RuntimeLock().with_runtime(here.platform, here.parts))
        key = load_or_create_key(stage.folder / f"{name}.pem")
        image = build(folder, key, epoch=int(time.time()))
        found.append(f"MRENCLAVE {image.mr_enclave.hex()[:16]}…, {len(image.sgxs):,} bytes of SGXS")
    return image


if __name__ == "__main__":
    sys.exit(main())
