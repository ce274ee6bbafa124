"""What each enclave's ``[uses.NAME]`` is bound to on this host: in memory, and for lasting ones in the catalogue."""

from casemate.host.catalogue import Catalogue
from casemate.host.image_store import ImageStore
from casemate.wire.errors import WireError
from casemate.wire.messages.bindings import Binding, BindingsAre, BindUse
from casemate.wire.protocol.capabilities.uses import MAX_USES, is_use_name
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.function_name import WANT, is_function_name

_MAX_NUMBER = (1 << 64) - 1


class Bindings:
    """The bindings of all enclaves. For one event loop; :meth:`restore` comes first."""

    def __init__(self, images: ImageStore, catalogue: Catalogue) -> None:
        self._images = images
        self._catalogue = catalogue
        self._bound: dict[int, dict[str, str]] = {}

    async def restore(self) -> None:
        """Reads the catalogue's."""
        for number, alias, target in await self._images.run(self._catalogue.bindings):
            self._bound.setdefault(number, {})[alias] = target

    def of(self, number: int) -> BindingsAre:
        """Those of one enclave, in the order of their aliases."""
        return BindingsAre(tuple(Binding(*each) for each in sorted(self._bound.get(number, {}).items())))

    def target(self, number: int, alias: str) -> str:
        """What an alias of an enclave means: what it was bound to, or else the deployment of its own name."""
        return self._bound.get(number, {}).get(alias, alias)

    async def bind(self, asked: BindUse, *, kept: bool) -> None:
        """Binds an alias; the enclave exists.

        Args:
            asked: the binding, or its end.
            kept: the enclave is in the catalogue.

        Raises:
            WireError: the alias or the target can be none.
            FaultError: ``busy``; the enclave has as many bindings as a manifest may have tables.
        """
        if not is_use_name(asked.alias):
            raise WireError("alias", got=repr(asked.alias[:80]), want=f"NAME of a table [uses.NAME]: {WANT}")
        target = asked.target
        if target and not is_function_name(target) and not _is_number(target):
            raise WireError("target", got=repr(target[:80]), want=f"an enclave's number, or a name: {WANT}")
        bound = self._bound.get(asked.enclave, {})
        if target and asked.alias not in bound and len(bound) >= MAX_USES:
            raise refuse(
                Code.BUSY, f"enclave {asked.enclave} has {MAX_USES} bindings, as many as a manifest has tables"
            )
        if kept:
            await self._images.run(self._catalogue.bind, asked.enclave, asked.alias, target)
        bound = self._bound.setdefault(asked.enclave, {})  # again: another may have bound or destroyed it meanwhile
        if target:
            bound[asked.alias] = target
        else:
            bound.pop(asked.alias, None)

    def follow(self, current: int, previous: int) -> None:
        """Has a new version of a function use what the old one uses, as the catalogue has since the switch."""
        self._bound[current] = {**self._bound.get(previous, {}), **self._bound.get(current, {})}

    def forget(self, number: int) -> None:
        """Takes note that an enclave was destroyed."""
        self._bound.pop(number, None)


def _is_number(target: str) -> bool:
    return target.isascii() and target.isdigit() and len(target) <= 20 and 0 < int(target) <= _MAX_NUMBER
