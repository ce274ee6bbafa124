"""The sealed state of one enclave: held in memory whole, made durable record by record, as new as the chip's anchor.

A commit is sealed, stored by the host, and then named in the anchor; what the anchor does not name has never happened.
See docs/adr/0007-anchor.md.
"""

import time
from collections.abc import Iterator

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.store.history import Archive, History
from casemate.enclave.store.host_line import HostLine
from casemate.enclave.store.state import State, cost
from casemate.enclave.store.transaction import Transaction
from casemate.wire.encodings.message import encode_fields
from casemate.wire.messages.leaf import AnchorIs
from casemate.wire.messages.state import StateAppend, StateForget, StateStored
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedKind, record_digest
from casemate.wire.protocol.state_changes import MAX_PART_CHANGES, MAX_PART_SIZE, Change, Changes

LOAD_TIME = 30.0
"""How long the host may take over all of a state (seconds), though the call be shorter: to load it, once a launch, and
to take a checkpoint, once in a while."""

MAX_RETRIES = 8
"""How often another instance may overtake this one while it loads."""

MIN_GROWTH = 1024 * 1024
"""So much has to be written since the last checkpoint before there is another one (bytes)."""


class Store:
    """A sealed state. It asks nothing of chip or host before the first :meth:`begin`."""

    def __init__(self, leaf: Leaf, host: HostLine, keys: SealingKeys, rules: StateRules) -> None:
        """``rules`` is ``[state]`` of the manifest; ``keys`` may be shared with the :class:`Sealer`."""
        self._leaf = leaf
        self._host = host
        self._keys = keys
        self._rules = rules
        self._archive = Archive(host, keys, rules.binding)
        self._head = NO_RECORD
        self._grown = 0
        self._patience = 1
        self._begins_anew = False
        """The next commit is the first one since the anchor was given up: a checkpoint, so that the host forgets."""
        self.state = State()
        self.mark = StateMark(0, 0)

    def begin(self, deadline: float) -> Transaction:
        """A transaction on the newest state, of whichever instance of this enclave wrote it.

        Args:
            deadline: of the call, on the monotonic clock; where the state is still to be loaded, it takes what it takes
                up to ``LOAD_TIME``.

        Raises:
            FaultError: ``state-rolled-back``: the host does not show the history that the anchor names;
                ``state-refused``: a higher security version has written it; ``unavailable``: host or chip fail.
        """
        anchor = self._leaf.anchor_read(self._rules.binding)
        if anchor.floor and self._rules.recovery is Recovery.NEVER:
            raise refuse(
                Code.STATE_ROLLED_BACK,
                f"state {self._keys.namespace(self._rules.binding).hex()} began anew at epoch {anchor.floor}: its "
                "owner has given it up, or the chip has lost its anchors, and the manifest allows no such loss "
                '(recovery = "never"): launch it on another machine',
            )
        self._begins_anew = anchor.floor > 0 and anchor.epoch == anchor.floor
        if anchor.head != self._head:
            self._catch_up(anchor, _at_least(deadline))
        else:
            self.mark = _mark(anchor)
        return Transaction(self, limit=self._rules.max_kib * 1024)

    def commit(self, changes: tuple[Change, ...], deadline: float) -> StateMark:
        """Makes the changes durable; see :meth:`Transaction.commit`, which is how to call it."""
        is_checkpoint = self._begins_anew or self._grown > self._patience * max(self.state.size, MIN_GROWTH)
        if not is_checkpoint:
            self._write(SealedKind.CHANGES, changes, deadline)
        else:
            try:
                self._write(SealedKind.CHECKPOINT, self._with(changes), _at_least(deadline))
            except FaultError:
                self._patience *= 2  # the host may be too slow for this one, and must not be asked for it each time
                raise
            self._patience = 1
        self.state.apply(changes)
        if is_checkpoint:
            self._host.tell(StateForget(self._keys.namespace(self._rules.binding), self._head))
        return self.mark

    def _catch_up(self, anchor: AnchorIs, deadline: float) -> None:
        """Loads what the anchor names. If another instance commits meanwhile, the host may have forgotten that."""
        for _ in range(MAX_RETRIES):
            history = self._archive.read(anchor.head, known=self._head, floor=anchor.floor, deadline=deadline)
            if history is not None and history.epoch == anchor.epoch:
                self._take(history)
                self.mark = _mark(anchor)
                return
            newest = self._leaf.anchor_read(self._rules.binding)
            if newest == anchor:
                self._recover(anchor, deadline)
                return
            anchor = newest
        raise refuse(Code.STATE_CONFLICT, "other instances commit faster than this one can load what they write")

    def _take(self, history: History) -> None:
        if history.is_whole:
            self.state, self._grown = State(), 0
        for changes in history.changes:
            self.state.apply(changes)
        self._grown += history.size
        self._head = history.head

    def _recover(self, anchor: AnchorIs, deadline: float) -> None:
        """Takes what the host has, where the operator has said so, and makes that the newest state at once."""
        namespace = self._keys.namespace(self._rules.binding).hex()
        lost = f"the host does not show the history that ends at epoch {anchor.epoch} of state {namespace}"
        if self._rules.recovery is Recovery.NEVER:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}, and the manifest allows no other")
        if not anchor.is_forgiven:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}; its operator may have an older one accepted")
        history = self._archive.newest(anchor.floor, deadline)
        if history is None:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}, and what it shows is no history")
        self._take(history)
        self.mark = _mark(anchor)
        try:
            self._write(SealedKind.CHECKPOINT, tuple(self.state.changes()), deadline)
        except FaultError:
            self._head = NO_RECORD  # what is in memory has been accepted by nobody
            raise

    def _write(self, kind: SealedKind, changes: tuple[Change, ...], deadline: float) -> None:
        """Seals and stores a commit, then names it in the anchor. The state in memory changes only after that."""
        binding, epoch, head = self._rules.binding, self.mark.epoch, self._head
        parts = _in_parts(changes)
        written = 0
        for number, part in enumerate(parts):
            record = self._keys.seal(
                kind,
                binding,
                encode_fields(Changes(part)),
                epoch=epoch + 1,
                previous=head,
                part=number,
                parts=len(parts),
            )
            self._store(record, deadline)
            head = record_digest(record)
            written += len(record)
        anchor = self._leaf.anchor_advance(binding, epoch=epoch, head=head)
        self._head, self.mark = head, _mark(anchor)
        self._grown = 0 if kind is SealedKind.CHECKPOINT else self._grown + written

    def _store(self, record: bytes, deadline: float) -> None:
        self._host.ask(lambda number: StateAppend(number, record), StateStored, deadline)

    def _with(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """All of the state as it will be after the changes."""
        return tuple(self._merged(changes))

    def _merged(self, changes: tuple[Change, ...]) -> Iterator[Change]:
        changed = {change.key for change in changes}
        yield from (change for change in self.state.changes() if change.key not in changed)
        yield from (change for change in changes if change.value is not None)


def _in_parts(changes: tuple[Change, ...]) -> list[tuple[Change, ...]]:
    """The changes of one commit, cut into parts that fit a frame each; one part at least, which may be empty."""
    parts: list[tuple[Change, ...]] = []
    part: list[Change] = []
    size = 0
    for change in changes:
        grows = cost(change.key, change.value or b"")
        if part and (size + grows > MAX_PART_SIZE or len(part) == MAX_PART_CHANGES):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(change)
        size += grows
    return [*parts, tuple(part)]


def _at_least(deadline: float) -> float:
    """The deadline of what takes the host longer than one record."""
    return max(deadline, time.monotonic() + LOAD_TIME)


def _mark(anchor: AnchorIs) -> StateMark:
    return StateMark(anchor.epoch, anchor.recoveries)
