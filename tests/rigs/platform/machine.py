"""A machine as an operator runs it, and the function that the proofs call."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from casemate.cli.images import runtime
from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import Client, connect
from casemate.client.local import LocalMachine
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import write_lock
from casemate.testing.served import Served, served_machine
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.runtime_lock import RuntimeLock

Tell = Callable[[str, object], None]
"""pytest's ``record_property``: what is told stands in the summary of the run."""
EPOCH = 1_760_000_000
FUNCTION = Path(__file__).parent / "ledger"


def ledger_image(folder: Path) -> Image:
    """The image of the function, built in ``folder``."""
    shutil.copytree(FUNCTION, folder)
    here = runtime()
    write_lock(folder, RuntimeLock().with_runtime(here.platform, here.parts))
    return build(folder, DeveloperKey.generate(), epoch=EPOCH)


def policy_for(machine: LocalMachine, image: Image) -> SgxPolicy:
    """This code, on this machine."""
    return policy_of(PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=False, debug=False))


@dataclass(frozen=True)
class Platform:
    """A machine behind HTTP, as `casemate up` starts it."""

    served: Served

    @property
    def machine(self) -> LocalMachine:
        return self.served.machine

    @property
    def token(self) -> str:
        """Of role admin: the operator's."""
        return self.served.token

    @property
    def url(self) -> str:
        return self.served.url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def connect(self) -> Client:
        """A client of the gateway."""
        return connect(self.url, token=self.token)


@contextlib.contextmanager
def platform_on(state: Path) -> Iterator[Platform]:
    """A new platform on a state directory, for a ``with`` block."""
    with served_machine(state, ["--lasting"]) as served:
        yield Platform(served)
