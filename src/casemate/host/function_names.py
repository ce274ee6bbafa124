"""The names of functions on this host: which deployment answers to each, and which one it has replaced.

A name means the deployment that it was switched to, or else the one lasting enclave that bears it. Enclaves of an
errand, and candidates that nobody has switched to, answer to their numbers alone.
"""

from collections import OrderedDict
from collections.abc import Iterable

from casemate.host.catalogue import Catalogue, Function
from casemate.host.image_store import ImageStore
from casemate.wire.messages.functions import FunctionIs, SwitchFunction
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.function_name import checked_name, is_function_name

RETRY_AFTER = 1.0
"""When a client of a replaced enclave may try again (seconds): at once, were it not for others in its place."""

MAX_QUOTED = 8192
"""Evidence of which it is known whose it is; of older evidence the current deployment is asked."""

_LISTED = 8
"""Most names or numbers that a refusal lists."""


class FunctionNames:
    """The names that were given, in memory as in the catalogue. For one event loop; :meth:`restore` comes first."""

    def __init__(self, images: ImageStore, catalogue: Catalogue) -> None:
        self._images = images
        self._catalogue = catalogue
        self._given: dict[str, Function] = {}
        self._quoted: OrderedDict[bytes, int] = OrderedDict()

    async def restore(self) -> None:
        """Reads the catalogue's names."""
        self._given = {each.name: each for each in await self._images.run(self._catalogue.functions)}

    def given(self, name: str) -> Function | None:
        """What a name was switched to."""
        return self._given.get(name)

    def replaced(self, number: int) -> Function | None:
        """The function that a deployment has answered to before the current one."""
        return next((each for each in self._given.values() if each.previous == number), None)

    def all(self, lasting: Iterable[EnclaveIs]) -> tuple[FunctionIs, ...]:
        """All names that were given, in their order."""
        shown = {each.enclave: each for each in lasting}
        return tuple(_said(each, shown) for _, each in sorted(self._given.items()))

    def find(self, name: str, lasting: Iterable[EnclaveIs]) -> FunctionIs:
        """What a name means.

        Args:
            name: any text.
            lasting: all lasting enclaves.

        Raises:
            FaultError: ``unknown-enclave``; nothing bears the name. ``wrong-state``; several do, and none was deployed.
        """
        shown = {each.enclave: each for each in lasting}
        given = self._given.get(name)
        if given is not None:
            return _said(given, shown)
        bearing = [each for each in shown.values() if each.name == name]
        if not bearing:
            known = sorted({*self._given, *(each.name for each in shown.values() if is_function_name(each.name))})
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no function {name[:80]!r} here, there are: {_listed(known) or 'none'}")
        if len(bearing) > 1:
            found = _listed([f"{each.enclave} ({each.state})" for each in bearing])
            raise refuse(
                Code.WRONG_STATE,
                f"{len(bearing)} enclaves are named {name}, and none was deployed under that name: {found}; "
                "give a number, or destroy what is not wanted",
            )
        return FunctionIs(name, bearing[0], None, deployed=False)

    def check_switch(self, asked: SwitchFunction, lasting: Iterable[EnclaveIs]) -> None:
        """Refuses a switch to a name that is none (WireError), or whose deployment is not the one that is meant."""
        checked_name(asked.name)
        if asked.enclave == asked.replaces:
            raise refuse(Code.WRONG_STATE, f"enclave {asked.enclave} cannot replace itself")
        try:
            now = self.find(asked.name, lasting).current.enclave
        except FaultError:  # nothing bears it, or several: nothing is replaced
            now = 0
        if now != asked.replaces:
            found = f"enclave {now} answers" if now else "no single enclave answers"
            meant = f"enclave {asked.replaces}" if asked.replaces else "none"
            raise refuse(
                Code.WRONG_STATE, f"{found} to {asked.name}, want {meant}: somebody else has deployed it meanwhile"
            )

    async def switch(self, asked: SwitchFunction) -> int | None:
        """Gives a name to an enclave, durably; returns the deployment that nothing goes back to any more."""
        before = self._given.get(asked.name)
        made = Function(asked.name, asked.enclave, asked.replaces or None)
        await self._images.run(self._catalogue.switch, made)
        self._given[asked.name] = made
        oldest = None if before is None else before.previous
        return None if oldest == asked.enclave else oldest

    def forget(self, number: int) -> None:
        """Takes note that a deployment was destroyed, and is forgotten by the catalogue."""
        kept = [each for each in self._given.values() if each.current != number]
        self._given = {
            each.name: Function(each.name, each.current, None if each.previous == number else each.previous)
            for each in kept
        }

    def note_quote(self, quote_hash: bytes, number: int) -> None:
        """Remembers whose evidence that is: sessions are bound to it."""
        self._quoted[quote_hash] = number
        if len(self._quoted) > MAX_QUOTED:
            self._quoted.popitem(last=False)

    def holder(self, quote_hash: bytes, function: FunctionIs) -> int:
        """The enclave that has the sessions over that evidence, as far as the function's enclaves go."""
        number = self._quoted.get(quote_hash)
        if function.previous is not None and number == function.previous.enclave:
            return number
        return function.current.enclave


def replaced_refusal(function: Function, number: int) -> FaultError:
    """The refusal of what a replaced enclave is asked."""
    return refuse(
        Code.SESSION_UNKNOWN,
        f"enclave {number} was replaced as {function.name} by enclave {function.current}: attest {function.name} again",
        retry_after=RETRY_AFTER,
    )


def _said(function: Function, shown: dict[int, EnclaveIs]) -> FunctionIs:
    previous = None if function.previous is None else shown.get(function.previous)
    return FunctionIs(function.name, shown[function.current], previous, deployed=True)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
