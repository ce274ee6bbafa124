"""Images made on the spot, and machines shared by the tests of one process."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from casemate.cli.developer_key_file import load_or_create_key
from casemate.cli.images import runtime
from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import Client, connect
from casemate.client.local import LocalMachine, local_machine
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import write_lock
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine, Permission
from casemate.wire.protocol.runtime_lock import RuntimeLock

SEED = "tests"
EPOCH = 1_760_000_000
ANYTHING: dict[str, Any] = {}
"""The schema of an entry that takes anything."""
SCALARS = ["string", "number", "boolean", "null"]


NEEDS_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers")


def _anything_out(depth: int) -> dict[str, Any]:
    if depth == 0:
        return {"type": SCALARS}
    inner = _anything_out(depth - 1)
    return {"type": ["object", "array", *SCALARS], "additionalProperties": inner, "items": inner}


ANYTHING_OUT = _anything_out(4)
"""The schema of an entry that gives anything of modest depth: what may go out must be said."""


@dataclass(frozen=True)
class Workshop:
    """Makes images for the runtime that runs here."""

    folder: Path
    key: DeveloperKey
    lock: RuntimeLock

    def image(
        self,
        source: str,
        *,
        engine: Engine = Engine.JAVASCRIPT,
        entries: dict[str, dict[str, Any]] | None = None,
        ocalls: dict[str, dict[str, Any]] | None = None,
        callers: dict[str, Any] | None = None,
        errors: dict[str, Any] | None = None,
        monitor: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        run: dict[str, Any] | None = None,
        uses: dict[str, Any] | None = None,
        appraise: dict[str, Any] | None = None,
        keys: dict[str, Any] | None = None,
        service: dict[str, Any] | None = None,
        name: str = "test",
        schemas: dict[str, str] | None = None,
        time_ms: int = 1000,
        memory_mib: int = 64,
        output_kib: int = 64,
        debug: bool = False,
        product_id: int = 1,
        security_version: int = 1,
        ra_tls: bool = False,
        receipt_metrics: bool = False,
        receipt_inner: bool = False,
        isolation: Isolation | None = None,
        concurrent: int | None = None,
        guests: int | None = None,
        permissions: Iterable[Permission] = tuple(Permission),
    ) -> Image:
        """An image of one module; by default its one entry is ``main``, for anyone, with any input and output.

        Its code may use all that a permission can grant. ``schemas`` are files in the folder of that name.

        The manifest does not have the keys whose arguments are None.
        """
        folder = self.folder / f"image-{time.monotonic_ns()}"
        (folder / "guest").mkdir(parents=True)
        main = {Engine.JAVASCRIPT: "guest/main.js", Engine.PYTHON: "guest/main.py"}[engine]
        (folder / main).write_text(source)
        manifest = {
            "enclave": {
                "name": name,
                "product_id": product_id,
                "security_version": security_version,
                "debug": debug,
                "engine": engine,
                "main": main,
                "permissions": [*permissions],
                **_written(isolation=isolation),
            },
            "limits": {
                "memory_mib": memory_mib,
                "time_ms": time_ms,
                "output_kib": output_kib,
                **_written(concurrent=concurrent, guests=guests),
            },
            "callers": callers or {},
            "entry": entries or {"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}},
            "ocall": ocalls or {},
            "errors": errors or {},
            "monitor": monitor or {},
        }
        if state is not None:
            manifest["state"] = state
        if run is not None:
            manifest["run"] = run
        if uses is not None:
            manifest["uses"] = uses
        if service is not None:
            manifest["service"] = service
        if keys is not None:
            manifest["keys"] = keys
        if appraise is not None:
            manifest["appraise"] = appraise
        for path, text in (schemas or {}).items():
            (folder / "schemas").mkdir(exist_ok=True)
            (folder / "schemas" / path).write_text(text)
        if receipt_metrics or receipt_inner:
            manifest["receipt"] = {"metrics": receipt_metrics, "inner": receipt_inner}
        if ra_tls:
            manifest["ra_tls"] = {"enabled": True}
        (folder / "casemate.toml").write_text(_toml(manifest))
        write_lock(folder, self.lock)
        return build(folder, self.key, epoch=EPOCH)


def _written(**keys: str | int | None) -> dict[str, Any]:
    """The keys that have a value."""
    return {name: value for name, value in keys.items() if value is not None}


def _toml(manifest: dict[str, Any]) -> str:
    """The manifest with every value inline: JSON's strings, numbers, lists and flags are TOML's too."""
    lines: list[str] = []
    for table, members in manifest.items():
        lines.append(f"[{table}]")
        lines += [f"{name} = {_inline(value)}" for name, value in members.items()]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    here = runtime()
    return Workshop(
        folder, load_or_create_key(folder / "developer.pem"), RuntimeLock().with_runtime(here.platform, here.parts)
    )


@pytest.fixture(
    scope="module",
    params=[pytest.param(engine, marks=NEEDS_LINUX if engine is Engine.PYTHON else ()) for engine in Engine],
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn: for what an author is promised whatever the language."""
    chosen: Engine = request.param
    return chosen


@pytest.fixture(scope="session")
def developer_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XDG_CONFIG_HOME for commands whose developer may be the same: making the key in it takes a second."""
    folder = tmp_path_factory.mktemp("developer")
    place = folder / "casemate" / "developer.pem"
    place.parent.mkdir()
    load_or_create_key(place)
    return folder


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMachine]:
    """One machine for all tests of this process that leave it as they found it."""
    with local_machine(tmp_path_factory.mktemp("machine"), seed=SEED) as running:
        yield running


@pytest.fixture
def own_machine(tmp_path: Path) -> Iterator[LocalMachine]:
    """A machine for a test that breaks it."""
    with local_machine(tmp_path / "machine", seed=SEED) as running:
        yield running


@pytest.fixture
def client(machine: LocalMachine) -> Iterator[Client]:
    with connect(machine.host_socket) as connected:
        yield connected


PolicyFor = Callable[[Image], SgxPolicy]


@pytest.fixture
def policy_for(machine: LocalMachine) -> PolicyFor:
    """What somebody who has built the image demands of it on the shared machine."""
    return lambda image: exact_policy(machine, image)


def exact_policy(machine: LocalMachine, image: Image, *, debug: bool = False) -> SgxPolicy:
    return policy_of(
        PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=machine.status.seeded, debug=debug)
    )
