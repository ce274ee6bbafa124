"""Copies of a function that run as debug enclaves on this user's machine, and are called there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.endpoints import LocalEndpoint, launched
from casemate.cli.functions.debugging import DEBUG
from casemate.cli.images import build_time, own_lock
from casemate.cli.log_reader import Console, followed
from casemate.cli.policies import own_policy

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine
    from casemate.client.sync import Enclave
    from casemate.images.image import Image
    from casemate.images.keys import DeveloperKey
    from casemate.wire.protocol.manifest import Engine

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
    def running(self, image: "Image", console: Console) -> Iterator["Enclave"]:
        """The copy, launched and attested; destroyed when the block ends. ``console`` is told what it prints."""
        endpoint = LocalEndpoint(self.machine)
        with (
            endpoint.connect() as client,
            launched(endpoint, client, image) as number,
            followed(endpoint, number, console),
        ):
            yield client.attest(number, own_policy(image, self.machine)[0])
