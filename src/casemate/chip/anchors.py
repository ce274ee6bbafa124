"""Anchors: which history of each sealed state is the newest. Durable before anybody learns of it.

An anchor belongs to a state's namespace, which the chip computes from the asking enclave's identity. It holds the epoch
and the digest of the newest record, so that no other record, however well sealed, can take that one's place.

An append-only log, one record for each step, synchronised to disk before the answer. Each record's MAC, under a key
from the fuses, covers the MAC before it: a record changed, dropped or moved inside the log is found. Room for records
is made ahead, as zeros: writing into it changes the file's content alone, which is the fastest thing to synchronise.
SIMULATED: a log cut at its end, or put back whole from a backup, is not found; hardware keeps such things in flash of
its own. SQLite would have done too; a log of short records is less code to trust, costs one fsync for each step, and
loads no library into the chip.
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
from casemate.chip.durable import sync, sync_content, write_whole
from casemate.chip.errors import AnchorConflictError, AnchorLimitError, AnchorRefusedError, StateError
from casemate.chip.fuses import Fuses
from casemate.wire.message import U16, U32, U64, Bytes32, encode_fields, parse_fields
from casemate.wire.sealing import SealPolicy, state_namespace
from casemate.wire.tee import Identity

FILE_NAME = "anchors.log"
MAX_PER_OWNER = 256
"""Anchors of one signer: as many as SGX's platform services gave it monotonic counters."""
MAX_ANCHORS = 4096
"""Anchors of one chip."""
COMPACT_AFTER = 32_768
"""Records (4 MB) after which the log is written anew, with one record for each anchor."""
ROOM = 64 * 1024
"""So many bytes are made room for at a time."""

_MAGIC = b"casemate anchors v1\x00"
_KEY_LABEL = b"casemate anchor log v1"
_OWNER_LABEL = b"casemate anchor owner v1\x00"
_FIRST_MAC = bytes(16)
_MAC_SIZE = len(_FIRST_MAC)


@dataclass(frozen=True, slots=True)
class Anchor:
    """One state's anchor, as the log holds it."""

    namespace: Bytes32
    owner: Bytes32
    epoch: U64
    """Commits so far."""
    head: Bytes32
    """SHA-256 of the newest record."""
    isv_svn: U16
    """Of the last writer; no lower one may read or write."""
    recoveries: U32
    """How often an older history has taken the place of the newest."""
    is_forgiven: bool
    """An older history may be accepted once: the next step counts it."""


_FIELDS_SIZE = 32 + 32 + 8 + 32 + 2 + 4 + 1
_RECORD_SIZE = _FIELDS_SIZE + _MAC_SIZE


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for an anchor, in the chip's own words."""

    namespace: bytes
    owner: bytes
    """Whose number of anchors is limited: the signer."""
    isv_svn: int


@lru_cache(maxsize=256)
def asker(who: Identity, policy: SealPolicy) -> Asker:
    """``who``, and the one state that it may have under that policy."""
    return Asker(
        namespace=state_namespace(policy, who),
        owner=hashlib.sha256(_OWNER_LABEL + who.mr_signer + (b"debug" if who.debug else b"production")).digest(),
        isv_svn=who.isv_svn,
    )


class Anchors:
    """All anchors of a chip. Threads may write at the same time: they take turns. Reading waits for nobody."""

    def __init__(self, directory: Path, fuses: Fuses) -> None:
        """Reads the log, and cuts off a last record that a power cut tore; it was never acknowledged.

        Raises:
            StateError: the log is damaged, or not this chip's.
        """
        self._path = directory / FILE_NAME
        self._key = derive(fuses.root_seal_key.reveal(), _KEY_LABEL, 16)
        self._latest: dict[bytes, Anchor] = {}
        self._records = 0
        self._last_mac = _FIRST_MAC
        self._broken = False
        self._file = -1
        self._end = self._room = 0
        self._turn = threading.Lock()
        self._open()

    def close(self) -> None:
        """Closes the log."""
        os.close(self._file)

    def all(self) -> tuple[Anchor, ...]:
        """Every anchor there is."""
        return tuple(self._latest.values())

    def find(self, namespace: bytes) -> Anchor:
        """An anchor by its name; :class:`AnchorRefusedError` where there is none."""
        anchor = self._latest.get(namespace)
        if anchor is None:
            raise AnchorRefusedError(f"this chip has no anchor of a state {namespace.hex()}")
        return anchor

    def read(self, who: Asker) -> Anchor:
        """The anchor of this enclave's state, at epoch 0 where nothing was ever committed.

        Raises:
            AnchorRefusedError: a higher security version has written it.
        """
        anchor = self._latest.get(who.namespace)
        if anchor is None:
            return Anchor(who.namespace, who.owner, 0, bytes(32), who.isv_svn, 0, is_forgiven=False)
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
            AnchorLimitError: the signer, or the chip, has as many as it may have.
        """
        with self._turn:
            anchor = self.read(who)
            if anchor.epoch != epoch:
                raise AnchorConflictError(f"the state is at epoch {anchor.epoch}, not at {epoch}")
            if who.namespace not in self._latest:
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

    def _check_room(self, owner: bytes) -> None:
        mine = sum(anchor.owner == owner for anchor in self._latest.values())
        if mine >= MAX_PER_OWNER or len(self._latest) >= MAX_ANCHORS:
            raise AnchorLimitError(f"{mine} states of this signer, {len(self._latest)} in all: no more can be made")

    def _append(self, anchor: Anchor) -> None:
        if self._broken:
            raise StateError(f"{self._path} could not be written: see to the disk, then start the chip again")
        try:
            if self._records >= COMPACT_AFTER:
                self._compact()
            fields = encode_fields(anchor)
            mac = cmac(self._key, self._last_mac + fields)
            if self._end + _RECORD_SIZE > self._room:
                self._make_room()
            self._write(fields + mac, self._end)
            sync_content(self._file)
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
        sync(self._file)
        self._room += ROOM

    def _write(self, content: bytes, at: int) -> None:
        if os.pwrite(self._file, content, at) != len(content):
            raise OSError(errno.ENOSPC, "the disk is full")

    def _compact(self) -> None:
        content, mac = bytearray(_MAGIC), _FIRST_MAC
        for anchor in self._latest.values():
            fields = encode_fields(anchor)
            mac = cmac(self._key, mac + fields)
            content += fields + mac
        write_whole(self._path, bytes(content))
        os.close(self._file)
        self._open()

    def _open(self) -> None:
        if not self._path.exists():
            write_whole(self._path, _MAGIC)
        content = self._path.read_bytes()
        self._end = self._room = self._replay(content)
        self._file = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if self._end < len(content):
            os.ftruncate(self._file, self._end)
            sync(self._file)

    def _replay(self, content: bytes) -> int:
        """Takes in the log's records; gives the offset at which the last whole one ends."""
        if not content.startswith(_MAGIC):
            raise self._damaged("its start")
        self._records, self._last_mac = 0, _FIRST_MAC
        at = len(_MAGIC)
        while at + _RECORD_SIZE <= len(content):
            fields, mac = content[at : at + _FIELDS_SIZE], content[at + _FIELDS_SIZE : at + _RECORD_SIZE]
            if not hmac.compare_digest(cmac(self._key, self._last_mac + fields), mac):
                if not any(content[at + _RECORD_SIZE :]):  # the room for more, or the one record that was torn
                    break
                raise self._damaged(f"record {self._records}")
            anchor = parse_fields(Anchor, fields)
            self._latest[anchor.namespace] = anchor
            self._last_mac = mac
            self._records += 1
            at += _RECORD_SIZE
        return at

    def _damaged(self, where: str) -> StateError:
        return StateError(
            f"{self._path} is damaged at {where}, or of another chip: restore the whole state directory, or remove the "
            "file, which lets every sealed state begin anew, empty"
        )
