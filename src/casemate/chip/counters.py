"""Monotonic counters: each belongs to a signer, only rises, and is durable before anybody learns its new value.

An append-only log, one record for each creation and increment, synchronised to disk before the answer. Each record's
MAC, under a key from the fuses, covers the MAC before it: a record changed, dropped or moved inside the log is found.
SIMULATED: a log cut at its end, or put back whole from a backup, is not found; hardware keeps such counters in flash of
its own. SQLite would have done too; a log of 68-byte records is less code to trust, costs one fsync for each
increment, and loads no library into the chip.
"""

import errno
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.crypto import cmac, derive
from casemate.chip.durable import sync, write_whole
from casemate.chip.errors import CounterError, StateError
from casemate.chip.fuses import Fuses
from casemate.chip.secs import Secs
from casemate.wire.message import U32, Bytes16, Bytes32, encode_fields, parse_fields

FILE_NAME = "counters.log"
MAX_VALUE = 0xFFFF_FFFF
"""A counter that has come this far stays there: it never starts again at 0."""
MAX_PER_OWNER = 256
"""Counters of one signer, as SGX's platform services had it."""
MAX_COUNTERS = 4096
"""Counters of one chip."""
COMPACT_AFTER = 65_536
"""Records (4.5 MB) after which the log is written anew, with one record for each counter."""

_MAGIC = b"casemate counters v1\x00"
_KEY_LABEL = b"casemate counter log v1"
_OWNER_LABEL = b"casemate counter owner v1\x00"
_FIRST_MAC = bytes(16)
_MAC_SIZE = len(_FIRST_MAC)


@dataclass(frozen=True, slots=True)
class _Record:
    counter: Bytes16
    owner: Bytes32
    value: U32


_FIELDS_SIZE = 16 + 32 + 4
_RECORD_SIZE = _FIELDS_SIZE + _MAC_SIZE


def owner_of(secs: Secs) -> bytes:
    """Whose counters an enclave may use: its signer's. Debug enclaves, which their host can steer, have others."""
    debug = b"debug" if secs.attributes.debug else b"production"
    return hashlib.sha256(_OWNER_LABEL + secs.mr_signer + debug).digest()


class Counters:
    """All counters of a chip. Not safe for two threads at a time."""

    def __init__(self, directory: Path, fuses: Fuses) -> None:
        """Reads the log, and cuts off a last record that a power cut tore; it was never acknowledged.

        Raises:
            StateError: the log is damaged, or not this chip's.
        """
        self._path = directory / FILE_NAME
        self._key = derive(fuses.root_seal_key.reveal(), _KEY_LABEL, 16)
        self._latest: dict[bytes, _Record] = {}
        self._records = 0
        self._last_mac = _FIRST_MAC
        self._broken = False
        self._file = -1
        self._open()

    def close(self) -> None:
        """Closes the log."""
        os.close(self._file)

    def create(self, owner: bytes) -> bytes:
        """A new counter of this owner, at 0; its id is durable when it returns.

        Raises:
            CounterError: the owner, or the chip, has as many as it may have.
        """
        mine = sum(record.owner == owner for record in self._latest.values())
        if mine >= MAX_PER_OWNER or len(self._latest) >= MAX_COUNTERS:
            raise CounterError(f"{mine} counters of this signer, {len(self._latest)} in all: no more can be made")
        record = _Record(secrets.token_bytes(16), owner, 0)
        self._append(record)
        return record.counter

    def read(self, owner: bytes, counter: bytes) -> int:
        """The present value; :class:`CounterError` where this owner has no such counter."""
        return self._record(owner, counter).value

    def increment(self, owner: bytes, counter: bytes) -> int:
        """The value after one step, durable when it returns.

        Raises:
            CounterError: this owner has no such counter, or it is worn out.
        """
        record = self._record(owner, counter)
        if record.value == MAX_VALUE:
            raise CounterError(f"counter {counter.hex()} is at {MAX_VALUE}, its last value")
        self._append(_Record(counter, owner, record.value + 1))
        return record.value + 1

    def _record(self, owner: bytes, counter: bytes) -> _Record:
        record = self._latest.get(counter)
        if record is None or record.owner != owner:  # one answer for both: ids of strangers stay unknown
            raise CounterError(f"this enclave's signer has no counter {counter.hex()}")
        return record

    def _append(self, record: _Record) -> None:
        if self._broken:
            raise StateError(f"{self._path} could not be written: see to the disk, then start the chip again")
        try:
            if self._records >= COMPACT_AFTER:
                self._compact()
            fields = encode_fields(record)
            mac = cmac(self._key, self._last_mac + fields)
            if os.write(self._file, fields + mac) != _RECORD_SIZE:
                raise OSError(errno.ENOSPC, "the disk is full")
            sync(self._file)
        except (OSError, StateError) as error:
            # What reached the disk is unknown now, so nothing more is promised; a restart cuts off a torn record.
            self._broken = True
            raise StateError(f"{self._path} could not be written: {error}") from None
        self._last_mac = mac
        self._latest[record.counter] = record
        self._records += 1

    def _compact(self) -> None:
        content, mac = bytearray(_MAGIC), _FIRST_MAC
        for record in self._latest.values():
            fields = encode_fields(record)
            mac = cmac(self._key, mac + fields)
            content += fields + mac
        write_whole(self._path, bytes(content))
        os.close(self._file)
        self._latest.clear()
        self._open()

    def _open(self) -> None:
        if not self._path.exists():
            write_whole(self._path, _MAGIC)
        content = self._path.read_bytes()
        good = self._replay(content)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        if good < len(content):
            os.ftruncate(self._file, good)
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
                if at + _RECORD_SIZE == len(content):  # length on disk, content not: torn as well
                    break
                raise self._damaged(f"record {self._records}")
            record = parse_fields(_Record, fields)
            self._latest[record.counter] = record
            self._last_mac = mac
            self._records += 1
            at += _RECORD_SIZE
        return at

    def _damaged(self, where: str) -> StateError:
        return StateError(
            f"{self._path} is damaged at {where}, or of another chip: restore the whole state directory, or remove the "
            "file, which loses all counters and with them the freshness of what they guard"
        )
