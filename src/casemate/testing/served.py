"""A machine of one's own with a gateway, for tests and figures: started, told where it is, ended."""

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
    """A running machine and the way to its gateway."""

    machine: LocalMachine
    token: str
    """The run's own, of role admin."""

    @property
    def url(self) -> str:
        """Where the gateway is."""
        return self.machine.status.url

    @property
    def authorization(self) -> dict[str, str]:
        """The header that opens it."""
        return {"Authorization": f"Bearer {self.token}"}


@contextlib.contextmanager
def served_machine(state: Path, arguments: Sequence[str] = ()) -> Iterator[Served]:
    """A new machine on ``state`` with a gateway on a free port of the loopback, VMs' guests and the learner's image.

    Args:
        state: the state directory.
        arguments: more, for ``casemate.supervisor``.
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
