"""The code that forked enclaves run. No other module of the spawner imports it: the spawner makes no use of it."""

from collections.abc import Callable

from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.protocol.sandbox_layers import Layer

Entry = Callable[[int, int, int, tuple[Layer, ...]], None]
"""An enclave's life: its descriptors to chip, host and spawner, and the layers around it."""


def import_enclave() -> Entry:
    """Loads what every enclave needs and rehearses it; what each fork then runs."""
    from casemate.enclave.main import run
    from casemate.enclave.rehearsal import rehearse

    rehearse()
    return run


def load_part(part: OptionalPart) -> None:
    """Loads what some enclaves need, for those that are forked from now on."""
    from casemate.enclave.parts import load

    load(part)
