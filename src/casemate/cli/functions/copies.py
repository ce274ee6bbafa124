"""Copies of a function that run as debug enclaves on this user's machine, and are called there."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.endpoints import LocalEndpoint, launched
from casemate.cli.functions.debugging import DEBUG
from casemate.cli.images import MANIFEST, build_time, own_lock
from casemate.cli.log_reader import Console, followed
from casemate.cli.policies import own_policy
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.manifest import ANYONE
from casemate.wire.protocol.manifest_table import ManifestError

if TYPE_CHECKING:
    from casemate.client.caller_keys import CallerKey
    from casemate.client.local import LocalMachine
    from casemate.client.sync import Enclave
    from casemate.images.image import Image
    from casemate.images.keys import DeveloperKey
    from casemate.wire.protocol.manifest import Engine, EntryPoint, Manifest

Changes = Mapping[tuple[str, str], bool | int | str]
"""Values of keys of a manifest, by table and key."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Builds and runs copies of one folder."""

    folder: Path
    machine: "LocalMachine"
    developer: "DeveloperKey"

    def build(self, engine: "Engine", changes: Changes) -> "Image":
        """A debug copy of the folder as it is now, for this computer alone.

        Args:
            engine: the manifest's.
            changes: what else differs in the manifest.

        Raises:
            CasemateError: the folder cannot be built.
        """
        from casemate.images.functions.build import build

        lock = own_lock(engine, machine=None if self.machine.joined else self.machine)
        return build(self.folder, self.developer, epoch=build_time()[0], changes={**changes, **DEBUG}, lock=lock)

    @contextmanager
    def running(self, image: "Image", console: Console) -> Iterator[tuple["Enclave", Callable[[], None]]]:
        """The copy, launched and attested; destroyed when the block ends. ``console`` is told what it prints.

        With it comes what :func:`casemate.cli.log_reader.followed` yields.
        """
        endpoint = LocalEndpoint(self.machine)
        with (
            endpoint.connect() as client,
            launched(endpoint, client, image) as number,
            followed(endpoint, number, console) as catch_up,
        ):
            yield client.attest(number, own_policy(image, self.machine)[0]), catch_up

    def end(self, enclave: "Enclave") -> None:
        """Destroys a copy that runs, whatever it is doing."""
        with suppress(CasemateError), LocalEndpoint(self.machine).connect() as client:
            client.destroy(enclave.number)


def caller_changes(keys: "Mapping[str, CallerKey]") -> Changes:
    """The changes of a manifest with which these keys are its callers'."""
    return {("callers", name): key.manifest_value for name, key in keys.items()}


def manifest_table(text: bytes, name: str) -> dict[str, Any]:
    """A table of a manifest that may have no keys for its callers yet; empty where there is none."""
    try:
        found = tomllib.loads(text.decode("utf-8", "replace")).get(name)
    except tomllib.TOMLDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def named_callers(text: bytes) -> list[str]:
    """All callers whom a manifest names, with a key or without; those that are enclaves have none to sign with."""
    callers_table = manifest_table(text, "callers")
    enclaves = {name for name, value in callers_table.items() if isinstance(value, dict)}
    named: list[str] = [*callers_table]
    for entry in manifest_table(text, "entry").values():
        callers = entry.get("callers") if isinstance(entry, dict) else None
        named += [name for name in callers if isinstance(name, str)] if isinstance(callers, list) else []
    return [name for name in dict.fromkeys(named) if name not in enclaves]


def signing_caller(entry: "EntryPoint") -> str | None:
    """The first caller with a key whom an entry point admits by name; None where it admits anyone.

    Raises:
        ManifestError: it admits enclaves alone, and a user's call is none.
    """
    if entry.callers is ANYONE:
        return None
    if not entry.callers:
        raise ManifestError(
            f"entry.{entry.name}.callers",
            got="a list of enclaves alone",
            want="a caller with a key, who can call it from here",
            advice=f'add one to [callers] and to entry.{entry.name}.callers, such as developer = "ed25519:..."',
        )
    return entry.callers[0].name


def manifest_of(files: Mapping[str, bytes], changes: Changes) -> "Manifest":
    """The manifest of a copy.

    Args:
        files: the measured files of the folder.
        changes: what differs in the manifest.

    Raises:
        ManifestError: it is not as it has to be.
    """
    from casemate.images.functions.manifest_copy import with_keys
    from casemate.wire.protocol.manifest_text import parse_manifest

    return parse_manifest(with_keys(files[MANIFEST], changes), files.get)
