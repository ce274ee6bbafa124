"""The capability ``run``: code that a caller has brought, in a guest of its own that has nothing.

Each run has fresh processes, which are dead when it has its outcome: nothing of it meets another run, another caller,
or the function. A question of the code's own ends it, whatever it asks for.

The outcome of code that fails is a value for the function, not a refusal of the function's call: its words are those of
whoever wrote the code, and the function decides who hears them. What the function does wrong itself is refused.
"""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from casemate.enclave.capabilities.brought_code import BroughtCode, CodeRefusedError, read_brought
from casemate.enclave.entry.turns import Turns
from casemate.enclave.guest.gauge import UNKNOWN, Gauge
from casemate.engines.frames import Asked, Refused, Wanted
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, FaultError, refuse

if TYPE_CHECKING:
    from casemate.enclave.guest.call_services import CallServices
    from casemate.enclave.guest.guest import Guest
    from casemate.enclave.guest.guest_maker import GuestMaker
    from casemate.engines.questions.runs import Run
    from casemate.wire.protocol.capabilities.run import RunRules

CODE_REFUSED: Final = "code-refused"
"""The code cannot be run: it is no program, has no such function, or asks for something."""

ASKED_WORDS = "the code has asked for something of context, and code that is run gets nothing but its argument"

_UNKNOWN = "unknown"
"""All callers that did not sign, who wait for their turns together."""
_MICROSECONDS = 1e6


@dataclass(slots=True)
class _Outcome:
    """How a run ended."""

    result: Json = None
    error: str = ""
    """Empty where there is a result."""
    words: str = ""
    wall: float = 0.0
    """Seconds since its process was there."""
    computed: float | None = 0.0
    """Seconds; None where nobody can tell."""
    peak_kib: int | None = None

    def fail(self, error: str, words: str) -> None:
        """It ended with this error."""
        self.error, self.words = error, words


@dataclass(slots=True)
class _Processes:
    """A run's guests: the one that is called, and before it the one that it is a copy of, if it is one."""

    guests: list["Guest"] = field(default_factory=list)
    has_asked: bool = False
    is_given_up: bool = False
    began: float | None = None
    """When the first was there; None before that, and once it is noted what they have used."""
    gauges: dict[int, Gauge] = field(default_factory=dict)

    def begin(self) -> None:
        """The first is there: what they use from now on is the code's."""
        self.began = time.monotonic()
        for guest in self.guests:
            guest.once_settled(self._look)

    def note_use(self, outcome: _Outcome) -> bool:
        """Notes what they have used, once; whether it has. Clocks can be read until the spawner has reaped them."""
        if self.began is None:
            return False
        self._look()
        outcome.wall, self.began = time.monotonic() - self.began, None
        times = [gauge.computed() for gauge in self.gauges.values()]
        outcome.computed = None if None in times else sum(filter(None, times))
        outcome.peak_kib = self.guests[-1].gauge.peak_kib()  # of one that is gone, nobody can tell any more
        return True

    def _look(self) -> None:
        self.gauges |= {number: guest.gauge for number, guest in enumerate(self.guests) if guest.gauge is not UNKNOWN}

    def end(self) -> None:
        """Ends them, copies first; none is begun any more."""
        self.is_given_up = True
        for guest in reversed(self.guests):
            guest.end()


class RunCapability:
    """Runs code under the rules of the manifest.

    Args:
        rules: the manifest's.
        maker: makes guests.
    """

    def __init__(self, rules: "RunRules", maker: "GuestMaker") -> None:
        self._rules = rules
        self._maker = maker
        self._turns = Turns(rules.at_once, "runs of code")

    async def answer(self, question: "Run", call: "CallServices", deadline: float) -> bytes:
        """The outcome, as JSON: ``result`` or ``error``, ``code_sha256`` and ``metrics``.

        Raises:
            FaultError: ``guest-error``: the function asks for what its manifest does not allow; ``busy``.
        """
        if call.runs >= self._rules.per_call:
            words = f"context.run: [run] in casemate.toml allows {self._rules.per_call} runs in a call, and there were"
            raise refuse(Code.GUEST_ERROR, f"{words} {call.runs}")
        call.runs += 1
        brought = read_brought(question.text, self._rules)
        outcome = _Outcome()
        processes = _Processes()

        def end() -> None:
            """Ends the run, and counts what it has used: at the call's end, if that comes first."""
            if processes.note_use(outcome):
                call.meter.ran(outcome.wall if outcome.computed is None else outcome.computed, outcome.peak_kib)
            processes.end()

        with call.ends_with(end), await self._turn(call, deadline):
            try:
                await self._run(brought, processes, outcome, deadline)
            except CodeRefusedError as error:
                outcome.fail(CODE_REFUSED, str(error))
            finally:
                end()
            await self._maker.buried(processes.guests, deadline)
        return _told(brought, outcome)

    async def _turn(self, call: "CallServices", deadline: float) -> "_GivenBack":
        caller = call.caller
        await self._turns.take(str(caller["key"]) if isinstance(caller, dict) else _UNKNOWN, deadline)
        return _GivenBack(self._turns)

    async def _run(self, brought: BroughtCode, processes: _Processes, outcome: _Outcome, deadline: float) -> None:
        program = brought.program()
        if processes.is_given_up:  # its call ended while it waited for its turn
            raise refuse(Code.TIME_LIMIT, "the call has ended")
        processes.guests += self._maker.for_brought(brought.engine, brought.memory_mib, program)
        loader, guest = processes.guests[0], processes.guests[-1]
        if not await loader.given_by(deadline):
            raise refuse(Code.TIME_LIMIT, "there was no process for the code before the call's time was up")
        processes.begin()
        until = min(deadline, time.monotonic() + brought.time_ms / 1000)
        try:
            await self._call(brought, guest, processes, outcome, until)
        except FaultError as error:
            self._note_failure(error, guest, processes, outcome)

    async def _call(
        self, brought: BroughtCode, guest: "Guest", processes: _Processes, outcome: _Outcome, until: float
    ) -> None:
        if not await guest.settled(until):
            raise refuse(Code.TIME_LIMIT, f"the code was not loaded within {brought.time_ms} ms")
        if guest.is_gone:
            raise FaultError(guest.failure)

        async def refuse_all(_asked: Asked | Wanted) -> bytes:
            processes.has_asked = True
            processes.end()
            raise refuse(Code.GUEST_ERROR, ASKED_WORDS)

        said = await guest.call(brought.entry, brought.argument, None, ask=refuse_all, deadline=until)
        if isinstance(said, Refused):  # it has got past the bootstrap: no error is declared
            raise refuse(Code.GUEST_CRASHED, "the code refuses its call with an error that nobody has declared")
        if len(said) > brought.output_limit:
            raise refuse(Code.OUTPUT_LIMIT, f"the result has {len(said)} bytes, at most {brought.output_limit} may be")
        try:
            outcome.result = parse_json("the result", said, limit=brought.output_limit, round_integers=True)
        except WireError as error:
            raise refuse(Code.RESULT_REFUSED, f"the result is {error.got}, want {error.want}") from None

    def _note_failure(self, error: FaultError, guest: "Guest", processes: _Processes, outcome: _Outcome) -> None:
        code, words = error.fault.code, error.fault.reason
        if processes.has_asked:
            outcome.fail(CODE_REFUSED, ASKED_WORDS)
        elif code is Code.GUEST_ERROR and not guest.has_served:  # while it was loaded
            outcome.fail(CODE_REFUSED, words)
        else:
            outcome.fail(code, words)


class _GivenBack:
    """A turn, given back at the end of a block."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._turns.give_back()


def _told(brought: BroughtCode, outcome: _Outcome) -> bytes:
    metrics: dict[str, Json] = {
        "wall_us": round(outcome.wall * _MICROSECONDS),
        "cpu_us": None if outcome.computed is None else round(outcome.computed * _MICROSECONDS),
        "peak_kib": outcome.peak_kib,
    }
    said: dict[str, Json] = {"code_sha256": brought.sha256, "metrics": metrics}
    if outcome.error:
        said["error"] = {"code": outcome.error, "message": outcome.words}
    else:
        said["result"] = outcome.result
    return encode_json(said)
