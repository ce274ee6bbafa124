"""Makes guests: those that run the image's program and are confined alike, and those of code that callers bring."""

from collections.abc import Callable, Sequence

from casemate.enclave.boot import Program
from casemate.enclave.guest.guest import Guest
from casemate.enclave.guest.spawner_link import SpawnerLink
from casemate.enclave.io.loop import Loop
from casemate.engines.command import GuestProgram
from casemate.engines.registry import engine_named
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.sandbox_layers import Layer, LayerState


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
            entries=(*(entry.name for entry in manifest.entries), *_hooks(manifest)),
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

    def for_brought(self, engine: str, memory_mib: int, program: GuestProgram) -> list[Guest]:
        """Fresh guests for one run of code that a caller has brought; the last is to be called, and all to be ended.

        There are two where the engine copies guests: the first loads the code.
        """
        guests: list[Guest] = []
        runs = engine_named(engine)
        for _ in range(1 + runs.copies_guests):
            guest = Guest(
                self._loop,
                self._spawner,
                engine=runs,
                memory_mib=memory_mib,
                program=program,
                on_print=_unheard,
                admit=self._admit_brought,
                tell_errors=True,
                template=guests[-1] if guests else None,
            )
            guests.append(guest)
        return guests

    async def buried(self, guests: Sequence[Guest], deadline: float) -> bool:
        """Waits until guests that were ended are dead; whether they are, at the ``deadline`` (monotonic clock)."""
        return await self._spawner.buried([guest.number for guest in guests], deadline)

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

    def _admit_brought(self, layers: tuple[Layer, ...]) -> bool:
        """Whether a guest has all the layers around it that REPORTDATA vouches for; another engine's may have more."""
        applied = {str(layer.name) for layer in layers if layer.state is LayerState.APPLIED}
        vouched = self._outline or []
        return applied.issuperset(name for name, state in vouched if state == LayerState.APPLIED)


def _hooks(manifest: Manifest) -> list[str]:
    """The names of the functions that the enclave calls on its own."""
    return [] if manifest.service is None else sorted(manifest.service.hooks)


def _unheard(_line: str) -> None:
    """Drops what code prints that has no console."""
