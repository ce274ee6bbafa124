"""The sealed state of one enclave: held in memory whole, made durable record by record, as new as the chip's anchor.

A commit is sealed, stored by the host, and then named in the anchor; what the anchor does not name has never happened.
Calls whose commits wait at the same time are committed together, as one record. See docs/adr/0007-anchor.md and
docs/adr/0024-group-commit.md.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.enclave_time import EnclaveTime, parse_time
from casemate.enclave.io.loop import Pending, Signal, let_others
from casemate.enclave.store.history import Archive, History
from casemate.enclave.store.host_line import HostLine
from casemate.enclave.store.reads import Effect
from casemate.enclave.store.state import OWN, State, cost
from casemate.enclave.store.transaction import Transaction, too_large
from casemate.wire.encodings.message import encode_fields
from casemate.wire.messages.leaf import AnchorIs
from casemate.wire.messages.state import StateAppend, StateForget, StateStored
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedKind, record_digest
from casemate.wire.protocol.state_changes import MAX_PART_CHANGES, MAX_PART_SIZE, Change, Changes

COMMIT_TIME = 5.0
"""The least time that the host has to store what a call changed (seconds), however little the function left of its own:
work that is done should not be lost for that."""

LOAD_TIME = 30.0
"""How long the host may take over all of a state (seconds), though the call be shorter: to load it, once a launch, and
to take a checkpoint, once in a while."""

MAX_RETRIES = 8
"""How often another instance may overtake this one while it loads."""

MIN_GROWTH = 1024 * 1024
"""So much has to be written since the last checkpoint before there is another one (bytes)."""


_COMMIT_TIME = OWN + "time"
"""The key of the last commit's time, in the states of enclaves that judge by time."""


@dataclass(slots=True, eq=False)
class _Member:
    """A commit that waits for its group, or is under way with it."""

    transaction: Transaction
    deadline: float
    outcome: Pending[StateMark] = field(default_factory=Pending)


class Store:
    """A sealed state. It asks nothing of chip or host before the first :meth:`begin`.

    Tasks take turns at whatever changes the state in memory: one loads what other instances have written, or commits
    for a whole group, while the others wait.
    """

    def __init__(
        self, leaf: Leaf, host: HostLine, keys: SealingKeys, rules: StateRules, clock: EnclaveTime | None = None
    ) -> None:
        """Made once an enclave.

        Args:
            leaf: has the anchors.
            host: keeps the records.
            keys: may be shared with the :class:`Sealer`.
            rules: ``[state]`` of the manifest.
            clock: each commit has its time, and it is told of the last one's; None where nothing is judged by time.
        """
        self._leaf = leaf
        self._host = host
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._limit = rules.max_kib * 1024
        self._archive = Archive(host, keys, rules.binding)
        self._state = State()
        self._anchor: AnchorIs | None = None
        """The one that names the state in memory; None before the first load."""
        self._grown = 0
        self._patience = 1
        self._open: WeakSet[Transaction] = WeakSet()
        """Transactions of calls that have not ended. A call that fails just lets go of its transaction."""
        self._reading: Pending[AnchorIs] | None = None
        """The last question for the anchor that was sent."""
        self._next_reading: Pending[AnchorIs] | None = None
        """The one that is about to be sent, for all that wait for it."""
        self._gathered: list[_Member] = []
        """The next group: commits that wait for their turn."""
        self._last_group = 0
        self._is_busy = False
        self._freed = Signal()

    @property
    def state(self) -> State:
        """The newest state that this enclave knows to be anchored."""
        return self._state

    @property
    def mark(self) -> StateMark:
        """Where in the history :attr:`state` stands."""
        return StateMark(0, 0) if self._anchor is None else StateMark(self._anchor.epoch, self._anchor.recoveries)

    async def begin(self, deadline: float) -> Transaction:
        """A transaction on the newest state, of whichever instance of this enclave wrote it.

        Args:
            deadline: of the call, on the monotonic clock; where the state is still to be loaded, it takes what it takes
                up to ``LOAD_TIME``.

        Raises:
            FaultError: ``state-rolled-back``: the host does not show the history that the anchor names;
                ``state-refused``: a higher security version has written it; ``unavailable``: host or chip fail.
        """
        anchor = await self._newest_anchor()
        if anchor.floor and self._rules.recovery is Recovery.NEVER:
            raise refuse(
                Code.STATE_ROLLED_BACK,
                f"state {self._keys.namespace(self._rules.binding).hex()} began anew at epoch {anchor.floor}: its "
                "owner has given it up, or the chip has lost its anchors, and the manifest allows no such loss "
                '(recovery = "never"): launch it on another machine',
            )
        if not self._is_known(anchor):
            await self._load(anchor, _at_least(LOAD_TIME, deadline))
        transaction = Transaction(self, limit=self._limit)
        self._open.add(transaction)
        return transaction

    async def commit(self, transaction: Transaction, deadline: float) -> StateMark:
        """Commits together with all that wait at the same time; see :meth:`Transaction.commit`, which calls this.

        The first that finds the store free commits for all of them. There is no wait for others to come: whoever is
        late gathers in the next group, while this one is under way.
        """
        member = _Member(transaction, _at_least(COMMIT_TIME, deadline))
        patience = _at_least(LOAD_TIME, deadline)  # whoever is before it may be loading, or at a checkpoint
        self._gathered.append(member)
        while not member.outcome.is_done:
            if not self._is_busy:
                await self._commit_gathered()
                continue
            in_time = await self._freed.wait(patience if member in self._gathered else None)
            if not in_time and member in self._gathered:  # a commit that is under way has no other end than its own
                self._gathered.remove(member)
                raise refuse(Code.UNAVAILABLE, "the host is too slow with what other calls of this enclave have begun")
        return member.outcome.result()

    # Beginning

    async def _newest_anchor(self) -> AnchorIs:
        """The anchor, read by a question that is sent after this was called: what was acknowledged before is in it.

        Calls that come while the chip is asked share the next question.
        """
        reading = self._next_reading
        if reading is not None:
            await reading.done_by(None)
            return reading.result()
        reading = self._next_reading = Pending()
        if self._reading is not None:
            await self._reading.done_by(None)  # the chip has its own time limit
        if self._last_group > 1:
            await let_others()  # those whose commits ended with this one's may begin their next calls now
        self._reading, self._next_reading = reading, None
        try:
            reading.set(await self._leaf.anchor_read(self._rules.binding))
        except FaultError as error:
            reading.fail(error)
        return reading.result()

    def _is_known(self, anchor: AnchorIs) -> bool:
        """Whether the state in memory is the one that it names, or a newer one: epochs never fall, nor repeat."""
        return self._anchor is not None and anchor.epoch <= self._anchor.epoch

    async def _load(self, anchor: AnchorIs, deadline: float) -> None:
        """Loads what the anchor names, unless a turn before this one's has done so, or has committed it itself."""
        if not await self._freed.until(lambda: not self._is_busy, deadline):
            raise refuse(Code.UNAVAILABLE, "the host is too slow with what other calls of this enclave have begun")
        self._is_busy = True
        try:
            if not self._is_known(anchor):
                await self._catch_up(anchor, deadline)
        finally:
            self._end_turn()

    async def _catch_up(self, anchor: AnchorIs, deadline: float) -> None:
        """Loads what the anchor names. If another instance commits meanwhile, the host may have forgotten that."""
        for _ in range(MAX_RETRIES):
            known = NO_RECORD if self._anchor is None else self._anchor.head
            history = await self._archive.read(anchor.head, known=known, floor=anchor.floor, deadline=deadline)
            if history is not None and history.epoch == anchor.epoch:
                self._take(history, anchor)
                return
            newest = await self._leaf.anchor_read(self._rules.binding)
            if newest == anchor:
                await self._recover(anchor, deadline)
                return
            anchor = newest
        raise refuse(Code.STATE_CONFLICT, "other instances commit faster than this one can load what they write")

    async def _recover(self, anchor: AnchorIs, deadline: float) -> None:
        """Takes what the host has, where the operator has said so, and makes that the newest state at once."""
        namespace = self._keys.namespace(self._rules.binding).hex()
        lost = f"the host does not show the history that ends at epoch {anchor.epoch} of state {namespace}"
        if self._rules.recovery is Recovery.NEVER:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}, and the manifest allows no other")
        if not anchor.is_forgiven:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}; its operator may have an older one accepted")
        history = await self._archive.newest(anchor.floor, deadline)
        if history is None:
            raise refuse(Code.STATE_ROLLED_BACK, f"{lost}, and what it shows is no history")
        changes = [Change(key, value) for key, value in _merged(history).items() if value is not None]
        accepted, _ = await self._write(SealedKind.CHECKPOINT, changes, anchor.epoch, history.head, deadline)
        self._take(history, accepted)
        self._grown = 0

    def _take(self, history: History, anchor: AnchorIs) -> None:
        """Makes the history's state the one in memory, which the anchor names."""
        changes = _merged(history)
        if history.is_whole:
            if self._open:
                self._tell_open(dict.fromkeys(self._state) | changes)
            self._state, self._grown = State(), 0
        else:
            self._tell_open(changes)
        self._state.apply(changes)
        self._grown += history.size
        self._anchor = anchor
        last = self._state.get(_COMMIT_TIME)
        if self._clock is not None and last is not None:
            self._clock.is_after(parse_time(last))

    # Committing

    async def _commit_gathered(self) -> None:
        self._is_busy = True
        try:
            await self._gather()
            group, self._gathered = self._gathered, []
            self._last_group = len(group)
            await self._commit_group(group)
        finally:
            self._end_turn()

    async def _gather(self) -> None:
        """Lets those join that are about to commit, or just beginning: else they would wait for all of this commit."""
        if self._last_group > 1 or len(self._open) > len(self._gathered):
            await let_others()
        reading = self._next_reading or self._reading
        if reading is not None and not reading.is_done:
            await reading.done_by(None)
            await let_others()

    async def _commit_group(self, group: list[_Member]) -> None:
        """Commits, in their order, those that can be; each of the group has its outcome then."""
        changes: dict[str, bytes | None] = {}
        effect, size = Effect(), self._state.size
        kept: list[_Member] = []
        for member in group:
            self._open.discard(member.transaction)
            try:
                size = self._checked(member.transaction, changes, effect, size)
            except FaultError as error:
                member.outcome.fail(error)
                continue
            changes |= member.transaction.changes
            effect.add(self._state, member.transaction.changes)
            kept.append(member)
        if not kept:
            return
        if self._clock is not None:  # read by no transaction, so this overtakes none
            changes[_COMMIT_TIME] = self._clock.commit_time(self._state.get(_COMMIT_TIME))
        try:
            mark = await self._make_durable(changes, effect, min(member.deadline for member in kept))
            for member in kept:
                member.outcome.set(mark)
        except FaultError as error:
            for member in kept:
                member.outcome.fail(FaultError(error.fault))
        except BaseException:  # a defect, or the enclave's end: nobody may wait for what does not come
            for member in kept:
                member.outcome.fail(refuse(Code.INTERNAL, "the commit ended in a defect"))
            raise

    def _checked(self, transaction: Transaction, before: Mapping[str, bytes | None], effect: Effect, size: int) -> int:
        """The state's size with this transaction's changes after those ``before`` it, or the refusal of these."""
        conflict = transaction.conflict_with(effect)
        if conflict is not None:
            raise conflict
        after = size
        for key, value in transaction.changes.items():
            old = before[key] if key in before else self._state.get(key)
            after += (0 if value is None else cost(key, value)) - (0 if old is None else cost(key, old))
        if after > self._limit and after > size:
            raise too_large(after, self._limit)
        return after

    async def _make_durable(self, changes: Mapping[str, bytes | None], effect: Effect, deadline: float) -> StateMark:
        """Writes the changes of a group, or the whole state with them, then makes them in memory."""
        old = self._anchor
        if old is None:
            raise RuntimeError("a commit before anything was loaded")
        begins_anew = old.floor > 0 and old.epoch == old.floor  # a checkpoint, so that the host forgets what was before
        is_checkpoint = begins_anew or self._grown > self._patience * max(self._state.size, MIN_GROWTH)
        if not is_checkpoint:
            made = [Change(key, value) for key, value in changes.items()]
            deadline = _at_least(COMMIT_TIME, deadline)
            anchor, written = await self._write(SealedKind.CHANGES, made, old.epoch, old.head, deadline)
            self._grown += written
        else:
            whole, deadline = list(self._with(changes)), _at_least(LOAD_TIME, deadline)
            try:
                anchor, _ = await self._write(SealedKind.CHECKPOINT, whole, old.epoch, old.head, deadline)
            except FaultError:
                self._patience *= 2  # the host may be too slow for this one, and must not be asked for it each time
                raise
            self._grown, self._patience = 0, 1
        self._tell_open(changes, effect)
        self._state.apply(changes)
        self._anchor = anchor
        if is_checkpoint:
            self._host.tell(StateForget(self._keys.namespace(self._rules.binding), anchor.head))
        return self.mark

    async def _write(
        self, kind: SealedKind, changes: list[Change], epoch: int, head: bytes, deadline: float
    ) -> tuple[AnchorIs, int]:
        """Seals and stores a commit after that epoch and record, then names it in the anchor.

        Returns:
            The new anchor, and the bytes of the records. Nothing in memory has changed yet.
        """
        binding = self._rules.binding
        parts = _in_parts(changes)
        written = 0
        for number, part in enumerate(parts):
            record = await self._keys.seal(
                kind,
                binding,
                encode_fields(Changes(part)),
                epoch=epoch + 1,
                previous=head,
                part=number,
                parts=len(parts),
            )
            await self._store(record, deadline)
            head = record_digest(record)
            written += len(record)
        return await self._leaf.anchor_advance(binding, epoch=epoch, head=head), written

    async def _store(self, record: bytes, deadline: float) -> None:
        await self._host.ask(lambda number: StateAppend(number, record), StateStored, deadline)

    def _tell_open(self, changes: Mapping[str, bytes | None], effect: Effect | None = None) -> None:
        """Says to the open transactions what is about to change under them."""
        if not self._open:
            return
        if effect is None:
            effect = Effect()
            effect.add(self._state, changes)
        for transaction in self._open:
            transaction.follow(changes, effect)

    def _with(self, changes: Mapping[str, bytes | None]) -> Iterator[Change]:
        """All of the state as it will be after the changes."""
        yield from (change for change in self._state.changes() if change.key not in changes)
        yield from (Change(key, value) for key, value in changes.items() if value is not None)

    def _end_turn(self) -> None:
        self._is_busy = False
        self._freed.set()


def _merged(history: History) -> dict[str, bytes | None]:
    """What all of its records change, each key once."""
    return {change.key: change.value for changes in history.changes for change in changes}


def _in_parts(changes: list[Change]) -> list[tuple[Change, ...]]:
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


def _at_least(seconds: float, deadline: float) -> float:
    """The deadline, or so many seconds from now, whichever is later."""
    return max(deadline, time.monotonic() + seconds)
