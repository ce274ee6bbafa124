"""The chain of records that ends at a head: shown by the host, checked by the digests that lead back to them."""

from collections import deque
from dataclasses import dataclass

from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.store.host_line import HostLine
from casemate.wire.encodings.message import parse_fields
from casemate.wire.errors import WireError
from casemate.wire.messages.state import StateRead, StateRecords
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedHeader, SealedKind, SealedRecord, record_digest
from casemate.wire.protocol.state_changes import Change, Changes


@dataclass(frozen=True, slots=True)
class History:
    """The records that lead to a head, opened."""

    head: bytes
    epoch: int
    """The epoch of the head; the floor if there is no record."""
    changes: tuple[tuple[Change, ...], ...]
    """The changes of each record, in the order in which they are to be applied."""
    is_whole: bool
    """True if the history begins at the first record or a checkpoint; false if it continues the known head."""
    size: int
    """Bytes of all records that are not of a checkpoint."""


class Archive:
    """Reads histories of one namespace."""

    def __init__(self, host: HostLine, keys: SealingKeys, binding: SealBinding) -> None:
        self._host = host
        self._keys = keys
        self._binding = binding

    async def read(self, head: bytes, *, known: bytes, floor: int, deadline: float) -> History | None:
        """The history that ends at ``head``; None where the host does not show it.

        Args:
            head: digest of the last record.
            known: digest of a record at which reading may stop, as all before it is known.
            floor: the epoch at which the state begins; records up to it are of a state that was given up.
            deadline: on the monotonic clock.

        Raises:
            FaultError: ``unavailable``: the host refused or was late; ``state-refused``: a record is not for this
                enclave, or not where it belongs.
        """
        return await self._read(head, deque(), known, floor, deadline)

    async def newest(self, floor: int, deadline: float) -> History | None:
        """The newest whole history that the host shows, which may be any; None where what it shows is none.

        Where the host says that it has no record at all, that is a history of nothing. Raises as :meth:`read` does.
        """
        shown = deque(await self._ask(None, deadline))
        head = record_digest(shown[0]) if shown else NO_RECORD
        return await self._read(head, shown, NO_RECORD, floor, deadline)

    async def _read(
        self, head: bytes, shown: deque[bytes], known: bytes, floor: int, deadline: float
    ) -> History | None:
        changes: deque[tuple[Change, ...]] = deque()
        newer: SealedHeader | None = None
        epoch = size = 0
        wanted, is_whole = head, True
        while wanted != NO_RECORD:
            if wanted == known:
                is_whole = False
                break
            if not shown:
                shown.extend(await self._ask(wanted, deadline))
            if not shown or record_digest(encoded := shown.popleft()) != wanted:
                return None
            header, opened = await self._open(encoded, newer, floor)
            changes.appendleft(opened)
            epoch = epoch or header.epoch
            if header.kind is SealedKind.CHECKPOINT:
                if header.part == 0:
                    break
            else:
                size += len(encoded)
            newer, wanted = header, header.previous
        return History(head, epoch or floor, tuple(changes), is_whole=is_whole, size=size)

    async def _ask(self, head: bytes | None, deadline: float) -> tuple[bytes, ...]:
        namespace = self._keys.namespace(self._binding)
        said = await self._host.ask(lambda number: StateRead(number, namespace, head), StateRecords, deadline)
        return said.records

    async def _open(
        self, encoded: bytes, newer: SealedHeader | None, floor: int
    ) -> tuple[SealedHeader, tuple[Change, ...]]:
        try:
            record = SealedRecord.parse(encoded)
            self._check_place(record.header, newer, floor)
            return record.header, parse_fields(Changes, await self._keys.open(record)).changes
        except WireError as error:
            raise refuse(Code.STATE_REFUSED, f"a record of the state: {error}") from None

    def _check_place(self, header: SealedHeader, newer: SealedHeader | None, floor: int) -> None:
        """Checks what digests cannot: the seal binding, and the order of commits, parts and versions."""
        if header.kind is SealedKind.BLOB or header.binding is not self._binding:
            raise refuse(Code.STATE_REFUSED, "a record has another seal binding, or is not of a state")
        if header.epoch <= floor:
            raise refuse(
                Code.STATE_REFUSED,
                f"a record of the state, of epoch {header.epoch}, is from before it began anew at epoch {floor}: its "
                "owner has given it up, or the chip has lost its anchors",
            )
        if newer is None:
            follows = header.is_last
        elif newer.part == 0:
            follows = header.is_last and header.epoch + 1 == newer.epoch
        else:
            same = (newer.kind, newer.epoch, newer.part - 1, newer.parts)
            follows = (header.kind, header.epoch, header.part, header.parts) == same
        begins = header.previous == NO_RECORD and header.kind is SealedKind.CHANGES and header.part == 0
        if not follows or (begins and header.epoch != floor + 1) or (header.previous == NO_RECORD and header.part > 0):
            raise refuse(Code.STATE_REFUSED, f"a record of the state, of epoch {header.epoch}, is out of its order")
        if newer is not None and header.isv_svn > newer.isv_svn:
            raise refuse(
                Code.STATE_REFUSED,
                f"a record of security version {header.isv_svn} comes before one of version {newer.isv_svn}",
            )
