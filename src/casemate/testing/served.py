"""Runs a new machine with a gateway, for tests and benchmarks."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from casemate.cli.learner_image import assembled_guests, put_guests, put_learner_image
from casemate.client.local import LocalMachine, running_machine, start_supervisor
from casemate.wire.protocol.access_tokens import token_digest, token_text


@dataclass(frozen=True, slots=True)
class Served:
    """A running machine, and how to reach its gateway."""

    machine: LocalMachine
    token: str
    """The run's token, of role admin."""

    @property
    def url(self) -> str:
        """The gateway's base URL."""
        return self.machine.status.url

    @property
    def authorization(self) -> dict[str, str]:
        """The header Authorization with the run's token."""
        return {"Authorization": f"Bearer {self.token}"}


@contextlib.contextmanager
def served_machine(state: Path, arguments: Sequence[str] = ()) -> Iterator[Served]:
    """A new machine on ``state``: a gateway on a free loopback port, the VMs' guests, and the learner's image.

    Args:
        state: the state directory.
        arguments: further arguments of ``casemate.supervisor``.
    """
    token = token_text(secrets.token_bytes(32))
    own = ["--state", str(state), "--token-digest", token_digest(token).hex(), "--port", "0"]
    supervisor = start_supervisor([*own, *arguments])
    try:
        machine = running_machine(state)
        status = machine.status
        put_guests(state, assembled_guests())
        put_learner_image(state, platform=status.platform, runtime=status.runtime)
        yield Served(machine, token)
    finally:
        supervisor.end()
