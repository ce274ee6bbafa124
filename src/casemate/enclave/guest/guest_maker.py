"""Makes guests that all run one program and are confined alike."""

from collections.abc import Callable

from casemate.enclave.boot import Program
from casemate.enclave.guest.guest import Guest
from casemate.enclave.guest.spawner_link import SpawnerLink
from casemate.enclave.io.loop import Loop
from casemate.engines.command import GuestProgram
from casemate.engines.registry import engine_named
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.sandbox_layers import Layer


class GuestMaker:
    """Has the spawner give guests for one program.

    Args:
        program: the enclave's.
        loop: serves the guests' pipes.
        spawner: gives guests.
        on_print: told each line that they print.
    """

    def __init__(self, program: Program, loop: Loop, spawner: SpawnerLink, on_print: Callable[[str], None]) -> None:
        manifest = program.image.manifest
        self._loop = loop
        self._spawner = spawner
        self._on_print = on_print
        self._engine = engine_named(manifest.engine)
        self._memory_mib = manifest.limits.memory_mib
        self._debug = program.debug
        self._program = GuestProgram(
            modules=program.image.modules(),
            entries=tuple(entry.name for entry in manifest.entries),
            output_limit=manifest.limits.output_kib * 1024,
            ocall_limit=MAX_OCALL,
            streams=tuple(entry.name for entry in manifest.entries if entry.stream),
            permissions=manifest.permissions,
            errors=tuple(error.name for error in manifest.errors),
            debug=program.debug,
        )
        self._template: Guest | None = None
        """What guests are copies of, where the engine copies them."""
        self._outline: list[tuple[str, str]] | None = None

    def make(self) -> Guest:
        """A guest, which begins to load."""
        if not self._engine.copies_guests:
            return self._guest(None)
        if self._template is None or self._template.is_gone:
            self._template = self._guest(None)
        return self._guest(self._template)

    def close(self) -> None:
        """Closes the pipes of the guest that others are copies of: the enclave ends, and the spawner ends it."""
        if self._template is not None:
            self._template.close()

    def _guest(self, template: Guest | None) -> Guest:
        return Guest(
            self._loop,
            self._spawner,
            engine=self._engine,
            memory_mib=self._memory_mib,
            program=self._program,
            on_print=self._on_print,
            admit=self._admit,
            tell_errors=self._debug,
            template=template,
        )

    def _admit(self, layers: tuple[Layer, ...]) -> bool:
        """Whether a guest is confined as the first one was, whose layers REPORTDATA vouches for."""
        outline = [(layer.name, layer.state) for layer in layers]  # their details differ from process to process
        if self._outline is None:
            self._outline = [(str(name), str(state)) for name, state in outline]
        return outline == self._outline
