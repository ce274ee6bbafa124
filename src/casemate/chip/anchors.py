"""Anchors: which history of each sealed state is the newest. Each step is durable before it is answered.

An anchor belongs to a state's namespace, which the chip computes from the asking enclave's identity. It holds the epoch
and the digest of the newest record, so that no other record, although genuinely sealed, can take its place.

An append-only log, one record for each step, synchronised to disk before the answer. Each record's MAC, under a key
from the fuses, covers the MAC before it: a record changed, dropped or moved inside the log is found. Room for records
is made ahead, as zeros: writing into it changes the file's content alone, which is the fastest thing to synchronise.
The file's length is a header and whole units of room, so a log that was cut short is found as well.
SIMULATED: a log whose newest records were overwritten with zeros, or that was put back whole from a backup, is not
found; hardware keeps such things in flash of its own. SQLite would have done too; a log of short records is less code
to trust, costs one fsync for each step, and loads no library into the chip.

Epochs of a state never repeat. An anchor that its owner gives up leaves its last epoch behind, and a state that begins
anew under the same name goes on counting from there (its *floor*); enclaves refuse records of epochs up to the floor,
so an old copy of the disk fits no later anchor. A log that was lost and begun anew cannot know those epochs: it counts
a *generation* up, and every state's floor is that generation times 2**40.
"""

import errno
import hashlib
import hmac
import os
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from casemate.chip.crypto import cmac, derive
from casemate.chip.errors import ANEW, LEVER, AnchorConflictError, AnchorLimitError, AnchorRefusedError, StateError
from casemate.chip.fuses import Fuses
from casemate.chip.state_directory import read_state, write_state
from casemate.process.durable_files import sync, sync_content
from casemate.process.plain_file import open_plain
from casemate.wire.encodings.message import U16, U32, U64, Bytes32, encode_fields, parse_fields
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.tee import Identity

FILE_NAME = "anchors.log"
MAX_ANCHORS = 4096
"""Most anchors of one chip, without those that were given up."""
MAX_PER_LAUNCHER = 512
"""Most anchors of states that one launcher's enclaves have made. The host says who launched an enclave: this protects
the other users of a machine from a launcher that makes too many, but nobody from the host."""
RESERVED = 1024
"""Anchors that are kept free for the machine's owner, however many launchers there are."""
MAX_GIVEN_UP = 16_384
"""Most given-up anchors that a chip remembers (2 MB of the log); only the owner can give one up."""
COMPACT_AFTER = 32_768
"""Records (4 MB) after which the log is written anew, with one record for each anchor."""
ROOM = 64 * 1024
"""Bytes by which the log grows. Growing costs a full synchronisation, writing into room that is there does not."""

GENERATION_SHIFT = 40
"""Epochs of one generation: 2**40 commits."""
MAX_GENERATION = 2**22
"""Keeps epochs below 2**63, the largest that hosts can file."""

_MAGIC_1 = b"casemate anchors v1\x00"
_MAGIC = b"casemate anchors v2\x00"
_KEY_LABEL = b"casemate anchor log v1"
_OWNER_LABEL = b"casemate anchor launcher v1\x00"
_FIRST_MAC_1 = bytes(16)
_MAC_SIZE = 16
_HEADER_SIZE = len(_MAGIC) + 4 + _MAC_SIZE


@dataclass(frozen=True, slots=True)
class Anchor:
    """One state's anchor, as the log holds it."""

    namespace: Bytes32
    owner: Bytes32
    """The launcher whose share it counts towards: :func:`launcher_id`."""
    epoch: U64
    """Commits so far."""
    head: Bytes32
    """SHA-256 of the newest record; zeros where there was no commit since ``floor``."""
    isv_svn: U16
    """ISVSVN of the last writer; enclaves with a lower one may not read or write."""
    recoveries: U32
    """How often an older history has taken the place of the newest."""
    is_forgiven: bool
    """An older history may be accepted once: the next step counts it."""
    floor: U64 = 0
    """The epoch at which this state began, or began anew: no record of an epoch up to it counts."""

    @property
    def given_up(self) -> bool:
        """Whether nothing was committed since the owner gave it up: it only keeps the floor for a new beginning."""
        return self.epoch == self.floor


@dataclass(frozen=True, slots=True)
class _Anchor1:
    """An anchor in a log of version 1."""

    namespace: Bytes32
    owner: Bytes32
    epoch: U64
    head: Bytes32
    isv_svn: U16
    recoveries: U32
    is_forgiven: bool


_FIELDS_SIZE_1 = 32 + 32 + 8 + 32 + 2 + 4 + 1
_FIELDS_SIZE = _FIELDS_SIZE_1 + 8
_RECORD_SIZE = _FIELDS_SIZE + _MAC_SIZE


def launcher_id(launcher: str) -> bytes:
    """Identifies the launcher that the host names, for counting its anchors; the empty name is the machine's owner.

    32 bytes.
    """
    return hashlib.sha256(_OWNER_LABEL + launcher.encode()).digest()


OWNER = launcher_id("")


@dataclass(frozen=True, slots=True)
class Asker:
    """The enclave that asks for an anchor, as the chip identifies it."""

    namespace: bytes
    owner: bytes
    """The launcher whose share a new anchor counts towards: :func:`launcher_id`."""
    isv_svn: int


def is_of_version_1(path: Path) -> bool:
    """Whether a log was written before there were inventories: see :mod:`casemate.chip.inventory`."""
    return read_state(path).startswith(_MAGIC_1)


@lru_cache(maxsize=256)
def asker(who: Identity, binding: SealBinding, launcher: str = "") -> Asker:
    """The enclave ``who``, with the one state that it may have under that binding."""
    return Asker(namespace=state_namespace(binding, who), owner=launcher_id(launcher), isv_svn=who.isv_svn)


class Anchors:
    """All anchors of a chip. Threads that write take turns; reading never waits."""

    def __init__(self, directory: Path, fuses: Fuses, *, generation: int = 0) -> None:
        """Reads the log, and cuts off a last record that a power cut tore; it was never acknowledged.

        Args:
            directory: the chip's; a log that is missing there is made. Whether it may be missing is not asked here:
                see :mod:`casemate.chip.losses`.
            fuses: have the key of the log's MACs.
            generation: of a log that is made: how often the chip has begun anew with its anchors.

        Raises:
            StateError: the log is damaged, cut short, or not this chip's.
        """
        self.generation = generation
        """How often this chip's anchors were lost, and begun anew by its owner's word."""
        self._path = directory / FILE_NAME
        self._key = derive(fuses.root_seal_key.reveal(), _KEY_LABEL, 16)
        self._latest: dict[bytes, Anchor] = {}
        self._records = 0
        self._last_mac = bytes(_MAC_SIZE)
        self._broken = False
        self._file = -1
        self._end = self._room = 0
        self._turn = threading.Lock()
        self._open()

    def close(self) -> None:
        """Closes the log."""
        os.close(self._file)

    def all(self) -> tuple[Anchor, ...]:
        """Every anchor, without those that were given up."""
        return tuple(anchor for anchor in tuple(self._latest.values()) if not anchor.given_up)

    def find(self, namespace: bytes) -> Anchor:
        """An anchor by its name; :class:`AnchorRefusedError` where there is none."""
        anchor = self._latest.get(namespace)
        if anchor is None or anchor.given_up:
            raise AnchorRefusedError(
                f"this chip has no anchor of a state {namespace.hex()}: `casemate state show` lists those there are"
            )
        return anchor

    def read(self, who: Asker) -> Anchor:
        """The anchor of this enclave's state, at epoch 0 where nothing was ever committed.

        Raises:
            AnchorRefusedError: a higher security version has written it.
        """
        anchor = self._latest.get(who.namespace)
        if anchor is None:
            floor = self.generation << GENERATION_SHIFT
            return Anchor(
                *(who.namespace, who.owner, floor, bytes(32), who.isv_svn, self.generation),
                is_forgiven=False,
                floor=floor,
            )
        if anchor.given_up:
            return replace(anchor, owner=who.owner, isv_svn=who.isv_svn)
        if who.isv_svn < anchor.isv_svn:
            raise AnchorRefusedError(
                f"security version {anchor.isv_svn} has written this state, the enclave is of version {who.isv_svn}"
            )
        return anchor

    def advance(self, who: Asker, *, epoch: int, head: bytes) -> Anchor:
        """The anchor one epoch on, durable when it returns.

        Raises:
            AnchorConflictError: it is not at ``epoch``.
            AnchorRefusedError: a higher security version has written it.
            AnchorLimitError: the launcher, or the chip, has as many as it may have.
        """
        with self._turn:
            anchor = self.read(who)
            if anchor.epoch != epoch:
                raise AnchorConflictError(f"the state is at epoch {anchor.epoch}, not at {epoch}")
            if anchor.given_up:
                self._check_room(who.owner)
            stepped = replace(
                anchor,
                epoch=epoch + 1,
                head=head,
                isv_svn=who.isv_svn,
                recoveries=anchor.recoveries + anchor.is_forgiven,
                is_forgiven=False,
            )
            self._append(stepped)
        return stepped

    def forgive(self, namespace: bytes) -> Anchor:
        """Lets an older history be accepted once; durable when it returns.

        Raises:
            AnchorRefusedError: there is no such anchor.
        """
        with self._turn:
            forgiven = replace(self.find(namespace), is_forgiven=True)
            self._append(forgiven)
        return forgiven

    def give_up(self, namespace: bytes) -> Anchor:
        """Frees an anchor: its state begins anew, empty, and no record of it counts any more; durable when it returns.

        Returns:
            What is left: the epoch from which a state of that name counts on, and one recovery more.

        Raises:
            AnchorRefusedError: there is no such anchor.
            AnchorLimitError: the chip remembers as many that were given up as it can.
        """
        with self._turn:
            anchor = self.find(namespace)
            if len(self._latest) - len(self.all()) >= MAX_GIVEN_UP:
                raise AnchorLimitError(
                    f"{MAX_GIVEN_UP} anchors were given up already, no more can be: make a new machine"
                )
            # One more than the newest commit: the host may hold records of one that was sealed and never anchored.
            floor = anchor.epoch + 1
            left = replace(
                anchor,
                epoch=floor,
                head=bytes(32),
                isv_svn=0,
                recoveries=anchor.recoveries + 1,
                is_forgiven=False,
                floor=floor,
            )
            self._append(left)
        return left

    def _check_room(self, owner: bytes) -> None:
        living = self.all()
        mine = sum(anchor.owner == owner for anchor in living)
        if owner == OWNER:
            full = len(living) >= MAX_ANCHORS
        else:
            full = mine >= MAX_PER_LAUNCHER or len(living) >= MAX_ANCHORS - RESERVED
        if full:
            raise AnchorLimitError(
                f"no further state can be made: {mine} of this launcher's (at most {MAX_PER_LAUNCHER}, the machine's "
                f"owner's are not limited), {len(living)} in all (at most {MAX_ANCHORS}, {RESERVED} of them for the "
                f"owner); {LEVER}"
            )

    def _append(self, anchor: Anchor) -> None:
        if self._broken:
            raise StateError(f"{self._path} could not be written: see to the disk, then start the chip again")
        try:
            if self._records >= COMPACT_AFTER + len(self._latest):
                self._compact()
            fields = encode_fields(anchor)
            mac = cmac(self._key, self._last_mac + fields)
            if self._end + _RECORD_SIZE > self._room:
                self._make_room()
            self._write(fields + mac, self._end)
            sync_content(self._file)  # before anything in memory changes: what was answered has to survive a power cut
        except (OSError, StateError) as error:
            # What reached the disk is unknown now, so nothing more is promised; a restart cuts off a torn record.
            self._broken = True
            raise StateError(f"{self._path} could not be written: {error}") from None
        self._last_mac = mac
        self._latest[anchor.namespace] = anchor
        self._records += 1
        self._end += _RECORD_SIZE

    def _make_room(self) -> None:
        self._write(bytes(ROOM), self._room)
        sync(self._file)  # with the new length, so that the records in this room need no more than sync_content
        self._room += ROOM

    def _write(self, content: bytes, at: int) -> None:
        if os.pwrite(self._file, content, at) != len(content):
            raise OSError(errno.ENOSPC, "the disk is full")

    def _compact(self) -> None:
        self._write_anew()  # whole and durable under the old name, before the old file is let go
        os.close(self._file)
        self._open()

    def _write_anew(self) -> None:
        """The log with one record for each anchor, and room behind the last."""
        content = bytearray(_MAGIC + self.generation.to_bytes(4, "little"))
        mac = cmac(self._key, bytes(content))
        content += mac
        for anchor in self._latest.values():
            fields = encode_fields(anchor)
            mac = cmac(self._key, mac + fields)
            content += fields + mac
        units = max(1, -(-(len(content) - _HEADER_SIZE) // ROOM))
        write_state(self._path, bytes(content).ljust(_HEADER_SIZE + units * ROOM, b"\x00"))

    def _open(self) -> None:
        if not self._path.exists():
            self._write_anew()
        content = read_state(self._path)
        if content.startswith(_MAGIC_1):
            self._replay_version_1(content)
            self._write_anew()
            content = read_state(self._path)
        self._room = self._whole_room(content)
        self._end = self._replay(content[: self._room])
        self._file = open_plain(self._path, os.O_WRONLY)
        if any(content[self._end : self._room]):  # a torn record
            self._write(bytes(self._room - self._end), self._end)
            sync(self._file)

    def _whole_room(self, content: bytes) -> int:
        """Where the last whole unit of room ends.

        Behind it may be a part of one that a power cut kept from being made, which no record can be in.
        """
        if not content.startswith(_MAGIC):
            raise self._damaged("its start")
        room = len(content) - (len(content) - _HEADER_SIZE) % ROOM
        if len(content) < _HEADER_SIZE + ROOM or any(content[room:]):
            raise self._damaged(f"its end: it has been cut to {len(content)} bytes")
        return room

    def _replay(self, content: bytes) -> int:
        """Takes in the log's records; gives the offset at which the last whole one ends."""
        header, mac = content[: _HEADER_SIZE - _MAC_SIZE], content[_HEADER_SIZE - _MAC_SIZE : _HEADER_SIZE]
        if not hmac.compare_digest(cmac(self._key, header), mac):
            raise self._damaged("its header")
        self.generation = int.from_bytes(header[len(_MAGIC) :], "little")
        self._records, self._last_mac, self._latest = 0, mac, {}
        at = _HEADER_SIZE
        while at + _RECORD_SIZE <= len(content):
            fields, mac = content[at : at + _FIELDS_SIZE], content[at + _FIELDS_SIZE : at + _RECORD_SIZE]
            if not hmac.compare_digest(cmac(self._key, self._last_mac + fields), mac):
                if not any(content[at + _RECORD_SIZE :]):  # the room for more, or the one record that was torn
                    return at
                raise self._damaged(f"record {self._records}")
            anchor = parse_fields(Anchor, fields)
            self._latest[anchor.namespace] = anchor
            self._last_mac = mac
            self._records += 1
            at += _RECORD_SIZE
        if any(content[at:]):  # a record is never begun where its room does not hold it
            raise self._damaged(f"its end: record {self._records} has been cut off")
        return at

    def _replay_version_1(self, content: bytes) -> None:
        """Reads a log of version 1. It had no fixed length, so records that were cut off its end are not missed."""
        at, last, size = len(_MAGIC_1), _FIRST_MAC_1, _FIELDS_SIZE_1 + _MAC_SIZE
        while at + size <= len(content):
            fields, mac = content[at : at + _FIELDS_SIZE_1], content[at + _FIELDS_SIZE_1 : at + size]
            if not hmac.compare_digest(cmac(self._key, last + fields), mac):
                if not any(content[at + size :]):
                    return
                raise self._damaged("a record of version 1")
            old = parse_fields(_Anchor1, fields)
            self._latest[old.namespace] = Anchor(
                *(old.namespace, old.owner, old.epoch, old.head, old.isv_svn, old.recoveries, old.is_forgiven)
            )
            last = mac
            at += size

    def _damaged(self, where: str) -> StateError:
        return StateError(
            f"{self._path} is damaged at {where}, or of another chip: {ANEW}; then every sealed state begins anew, "
            "empty"
        )
