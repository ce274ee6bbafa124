"""The enclave page cache: images replayed into pages, and how many fit (ECREATE, EADD, EEXTEND)."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from casemate.chip.crypto import sha256
from casemate.chip.errors import LaunchError
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import MAX_PAGES
from casemate.wire.sgx.sgxs import PAGE_SIZE, Ecreate, Sgxs, page_count, read_sgxs

EPC_SIZE = 512 * 1024 * 1024
"""Pages of all enclaves together (bytes); what a large client processor reserves, and the chip holds them in memory."""

MAX_ENCLAVES = 256
"""Enclaves at a time: bounds the sockets a host can make the chip hold."""

WORTH_A_THREAD = 4 * 1024 * 1024
"""Length of streams (bytes) that are hashed by a thread while they are parsed: hashing needs no interpreter's lock."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An enclave before EINIT: its range, its pages in address order, and what was measured of them."""

    ecreate: Ecreate
    pages: bytes
    mr_enclave: bytes

    @property
    def epc_size(self) -> int:
        """What it takes of the page cache (bytes): its pages, and one for SECS."""
        return len(self.pages) + PAGE_SIZE


def load(stream: bytes) -> Loaded:
    """Replays an SGXS stream.

    Raises:
        WireError: not a stream of well-formed records.
        LaunchError: well formed, but more than an enclave may be, or with gaps between its pages.
    """
    if (size := page_count(stream) * PAGE_SIZE) > MAX_PAGES:  # before anything is parsed
        raise LaunchError("enclave-size", got=f"{size} bytes of pages", want=f"at most {MAX_PAGES}")
    if len(stream) < WORTH_A_THREAD:
        ecreate, pages = _replay(stream)
        return Loaded(ecreate, pages, sha256(stream))  # MRENCLAVE is the hash of the stream, see wire.sgx.sgxs
    with ThreadPoolExecutor(1) as other:
        mr_enclave = other.submit(sha256, stream)
        ecreate, pages = _replay(stream)
        return Loaded(ecreate, pages, mr_enclave.result())


def _replay(stream: bytes) -> tuple[Ecreate, bytes]:
    """The range of an enclave, and its pages in address order."""
    contents = io.BytesIO()  # gives out what was written to it without another copy
    ecreate, segments = read_sgxs(stream, contents.write)
    sgxs = Sgxs(ecreate, segments, contents.getvalue())
    try:
        return ecreate, sgxs.linear_contents()
    except WireError as error:  # the processor allows gaps, but the enclave's runtime reads its pages as one range
        raise LaunchError("pages-adjacent", got=error.got, want=error.want) from None


def epc_size_of(stream: bytes) -> int:
    """What an enclave takes of the page cache (bytes) if its stream is good, told before anything is parsed."""
    return (page_count(stream) + 1) * PAGE_SIZE


class PageCache:
    """Counts what is taken of the page cache; holds no page itself."""

    def __init__(self, *, size: int = EPC_SIZE, enclaves: int = MAX_ENCLAVES) -> None:
        self._free = size
        self._places = enclaves

    def take(self, size: int) -> None:
        """Reserves the room for one enclave; :class:`LaunchError` where it is not there."""
        if self._places == 0:
            raise LaunchError("epc", got="one more enclave", want="an enclave destroyed first: no place is free")
        if size > self._free:
            raise LaunchError("epc", got=f"an enclave of {size} bytes", want=f"at most the {self._free} bytes free")
        self._places -= 1
        self._free -= size

    def give_back(self, size: int) -> None:
        """EREMOVE of all pages of one enclave."""
        self._places += 1
        self._free += size
