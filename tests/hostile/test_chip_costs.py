"""What strangers' bytes cost the chip, and those who read images elsewhere.

The limits are for what is read besides the pages of an image themselves: these are copied and hashed, which is linear,
takes their own size, and is done for one image at a time.
"""

import struct
import sys
from collections.abc import Callable

import pytest
from tests.rigs.costs import Cost, Meter, Where

from casemate.chip.sgx.einit import check_runtime_lock, parse_sigstruct
from casemate.chip.sgx.epc import load
from casemate.chip.snp.launch import checked_cpuid_page, extended
from casemate.host.image_store import check_lock
from casemate.images.functions.explain import explain_pages
from casemate.images.image import Image
from casemate.images.layout import lay_out, read_pages
from casemate.wire.encodings.message import parse_message
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.messages.snp_certification import UpdateFirmware
from casemate.wire.messages.snp_firmware import MAX_UPDATE_PAGES, LaunchUpdate
from casemate.wire.messages.supervisor import MAX_CHAIN
from casemate.wire.messages.vm.silicon import Ready
from casemate.wire.protocol.image_index import (
    HEAD_SIZE,
    LOCK_PATH,
    MANIFEST_PATH,
    MAX_ENTRIES,
    MAX_INDEX,
    MAX_LINKS,
    Head,
    Link,
    parse_index,
)
from casemate.wire.protocol.runtime_lock import MAX_RECORDS, Record, RuntimeLock, RuntimePart
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES, AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.sgxs import CODE_PAGE, DATA_PAGE, PAGE_SIZE, Ecreate, Segment, Sgxs
from casemate.wire.sgx.sigstruct import KEY_SIZE, Sigstruct
from casemate.wire.sgx.sigstruct_signature import verify_sigstruct
from casemate.wire.snp.id_block import IdAuth
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import DIGEST_SIZE, PageType

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc/self"),
]

PLATFORM = "linux-x86_64-cp311"
RUNTIME = (RuntimePart("core", b"\xab" * 32), RuntimePart("javascript", b"\xcd" * 32))
MIB = 2**20
MANY_PAGES = 1024
"""Pages of the largest stream that is measured here (4 MiB)."""


# The lock and the head of an image


def _pages(lock: bytes) -> bytes:
    return lay_out({LOCK_PATH: lock, MANIFEST_PATH: b"x"}, (), engine="javascript").linear_contents()


def _einit(pages: bytes) -> None:
    check_runtime_lock(pages, platform=PLATFORM, runtime=RUNTIME)


def _records(count: int) -> bytes:
    parts = [RuntimePart("core", at.to_bytes(32)) for at in range(count)]
    return RuntimeLock().with_runtime(PLATFORM, parts).encode()


def _out_of_order(count: int) -> bytes:
    return _records(count) + Record("core", PLATFORM, bytes(32)).encode()


def _not_accepted(count: int) -> bytes:
    return _pages(_records(count))


def _dotted(size: int) -> bytes:
    return _pages(b"a." * (size // 2) + b"a=1")


def _index_alone(size: int) -> bytes:
    head = Head("javascript", PAGE_SIZE, 0, MAX_INDEX)
    return head.encode() + b"\xff" * max(0, size - HEAD_SIZE)


# Streams


def _stream(pages: int, flags: Callable[[int], int] = lambda _: DATA_PAGE) -> bytearray:
    """A stream of that many pages, by the book."""
    stream = bytearray(Ecreate(1, max(2 * PAGE_SIZE, 1 << (pages * PAGE_SIZE - 1).bit_length())).encode())
    for page in range(pages):
        stream += struct.pack("<8sQQ40x", b"EADD", page * PAGE_SIZE, flags(page))
        for chunk in range(0, PAGE_SIZE, 256):
            stream += struct.pack("<8sQ48x256x", b"EEXTEND", page * PAGE_SIZE + chunk)
    return stream


def _last_record_is_wrong(pages: int) -> bytes:
    stream = _stream(pages)
    stream[-256 - 1] = 1  # in the zeros of the last EEXTEND
    return bytes(stream)


def _cut(pages: int) -> bytes:
    return bytes(_stream(pages)[:-1])


def _many_segments(pages: int) -> bytes:
    return bytes(_stream(pages, lambda page: CODE_PAGE if page % 2 else DATA_PAGE))


def _backwards(pages: int) -> bytes:
    """The lock's page is the last one in the stream."""
    image = lay_out({LOCK_PATH: _records(4), "pages": bytes((pages - 2) * PAGE_SIZE)}, (), engine="javascript")
    segments = tuple(Segment(page * PAGE_SIZE, PAGE_SIZE, DATA_PAGE) for page in reversed(range(pages)))
    contents = b"".join(image.contents[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] for page in reversed(range(pages)))
    return Sgxs(image.ecreate, segments, contents).encode()


# Messages and structures of fixed size


def _sigstruct(_: int) -> bytes:
    """Every field as it has to be, but for the numbers, which are anybody's."""
    number = b"\xfe" * KEY_SIZE
    return Sigstruct(
        vendor=0,
        date=0x20260131,
        sw_defined=0,
        modulus=b"\xff" * KEY_SIZE,
        signature=number,
        misc_select=MiscSelect(0),
        misc_mask=0,
        cet_attributes=CetAttributes(0),
        cet_attributes_mask=0,
        isv_family_id=bytes(16),
        attributes=Attributes(AttributeFlag.MODE64BIT, 3),
        attribute_mask=ALL_ATTRIBUTES,
        enclave_hash=bytes(32),
        isv_ext_prod_id=bytes(16),
        isv_prod_id=7,
        isv_svn=5,
        q1=number,
        q2=number,
    ).encode()


def _verify(sigstruct: bytes) -> None:
    verify_sigstruct(parse_sigstruct(sigstruct))


def _cpuid(count: int) -> bytes:
    functions = b"".join(struct.pack("<IIQQIIII8x", 0x8000_0000 + at, at, 7, 0, 1, 2, 3, 4) for at in range(count))
    return (struct.pack("<I12x", count) + functions).ljust(PAGE_SIZE, b"\x00")


def _check_cpuid(page: bytes) -> bytes:
    return checked_cpuid_page(page, VmMode.SEV_SNP)


def _extend(digests: bytes) -> bytes:
    count = len(digests) // DIGEST_SIZE
    update = LaunchUpdate(vm=1, page_type=PageType.NORMAL, spa=0, gpa=0, count=count)
    return extended(bytes(DIGEST_SIZE), update, digests)


def _list(tag: int, item: bytes) -> Callable[[int], bytes]:
    """A message that is a list of so many items."""
    return lambda count: bytes((tag,)) + count.to_bytes(4, "little") + item * count


def _parse(cls: type[object]) -> Callable[[bytes], object]:
    return lambda message: parse_message(message, cls)


def _chain(text: bytes) -> object:
    return parse_chain("chain", text)


LAYER = struct.pack("<I7sI11sI256s", 7, b"rlimits", 11, b"unavailable", 256, bytes(256))
FIRMWARE = struct.pack("<I5s11x", 5, b"Milan")
CERTIFICATE = encode_chain(bytes(3000))


# Images, as others than chips read them


def _many_files(count: int) -> bytes:
    return lay_out({f"guest/{at:04}.txt": b"" for at in range(count)}, (), engine="javascript").linear_contents()


def _many_imports(count: int) -> bytes:
    links = tuple(Link("guest/main.js", "./x", "guest/main.js", at, at + 5) for at in range(count))
    return lay_out({"guest/main.js": b"x"}, links, engine="javascript").linear_contents()


def _program(modules: int) -> Sgxs:
    """Modules that the main one imports, and each of which imports the three behind it; every other file is no code."""
    names = [f"guest/m{at:04}.{'js' if at % 2 else 'json'}" for at in range(modules)]
    files = {MANIFEST_PATH: MANIFEST, LOCK_PATH: _records(1)} | dict.fromkeys(names, b'"./x"' * 3)
    files["guest/main.js"] = b'"./x"' * modules
    links: list[Link] = []
    for at, name in enumerate(names):
        links += [Link(name, "./x", target, 5 * n, 5 * n + 5) for n, target in enumerate(names[at + 1 : at + 4])]
    links += [Link("guest/main.js", "./x", name, at * 5, at * 5 + 5) for at, name in enumerate(names)]
    return lay_out(files, tuple(links), engine="javascript")


def _boot(pages: bytes) -> object:
    return read_pages(pages).modules()


def _explain(stream: bytes) -> object:
    return explain_pages(Image("it", stream, b""))


MANIFEST = b"""
    [enclave]
    name = "it"
    product_id = 0
    security_version = 0
    engine = "javascript"
    main = "guest/main.js"
    [limits]
    memory_mib = 64
    time_ms = 1000
    output_kib = 1
    [entry.main]
    input = {}
    output = { type = "null" }
    callers = "anyone"
"""
MODULES = MAX_LINKS // 4 - 3

CHIP, ELSEWHERE = Where.CHIP, Where.ELSEWHERE
COSTS = (
    Cost("lock: all records", CHIP, RuntimeLock.parse, _records, MAX_RECORDS),
    Cost("lock: the last record out of order", CHIP, RuntimeLock.parse, _out_of_order, MAX_RECORDS - 1, accepted=False),
    Cost("EINIT: records that are not accepted", CHIP, _einit, _not_accepted, MAX_RECORDS, accepted=False),
    Cost("EINIT: a lock that is one dotted key", CHIP, _einit, _dotted, MIB, accepted=False),
    Cost("EINIT: pages that are one index", CHIP, _einit, _index_alone, MAX_INDEX, accepted=False),
    Cost("SIGSTRUCT: anybody's numbers", CHIP, _verify, _sigstruct, 16, accepted=False),
    Cost("stream: a wrong record in one batch", CHIP, load, _last_record_is_wrong, 64, accepted=False),
    Cost("SNP: a CPUID page", CHIP, _check_cpuid, _cpuid, 64, accepted=False),
    Cost("SNP: the digest after one update", CHIP, _extend, lambda count: bytes(DIGEST_SIZE * count), MAX_UPDATE_PAGES),
    Cost("SNP: an ID_AUTH", CHIP, IdAuth.parse, lambda _: b"\xff" * 4096, 16, accepted=False),
    Cost("VM's process: layers", CHIP, _parse(Ready), _list(0xC1, LAYER), 4096, accepted=False),
    Cost("vendor: firmware", CHIP, _parse(UpdateFirmware), _list(0x8E, FIRMWARE), 12_000, accepted=False),
    Cost("vendor: certificates", CHIP, _chain, lambda count: CERTIFICATE * count, 8),
    Cost("vendor: white space", CHIP, _chain, lambda size: CERTIFICATE[:28] + b"\n" * size, MAX_CHAIN, accepted=False),
    Cost("index: many files", ELSEWHERE, parse_index, _many_files, MAX_ENTRIES),
    Cost("index: many imports", ELSEWHERE, parse_index, _many_imports, MAX_LINKS),
    Cost("host: pages in another order", ELSEWHERE, check_lock, _backwards, MANY_PAGES),
)

LOADED = Cost("stream: honest", CHIP, load, lambda pages: bytes(_stream(pages)), MANY_PAGES)
LOADING = (
    LOADED,
    Cost("stream: the last record is wrong", CHIP, load, _last_record_is_wrong, MANY_PAGES, accepted=False),
    Cost("stream: the last byte is missing", CHIP, load, _cut, MANY_PAGES, accepted=False),
    Cost("stream: as many segments as pages", CHIP, load, _many_segments, MANY_PAGES),
)
"""Rows that read the pages themselves, so the limits of other rows are not theirs."""
PROGRAMS = (
    Cost("boot: many modules", ELSEWHERE, _boot, lambda count: _program(count).linear_contents(), MODULES),
    Cost("measure --explain: many modules", ELSEWHERE, _explain, lambda count: _program(count).encode(), MODULES),
)
"""Rows whose inputs take long to make."""
MORE = (*LOADING, *PROGRAMS)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
def test_costs_stay_in_proportion_to_the_input(meter: Meter, cost: Cost) -> None:
    assert meter.faults(__name__, cost) == []


@pytest.mark.nightly("large images and programs")
@pytest.mark.parametrize("cost", LOADING, ids=lambda cost: cost.name)
def test_loading_grows_with_the_pages_alone(meter: Meter, cost: Cost) -> None:
    assert [fault for fault in meter.faults(__name__, cost) if "is allowed" not in fault] == []


@pytest.mark.nightly("large images and programs")
@pytest.mark.parametrize("cost", PROGRAMS, ids=lambda cost: cost.name)
def test_costs_of_large_programs_stay_in_proportion(meter: Meter, cost: Cost) -> None:
    assert meter.faults(__name__, cost) == []


def test_refusing_a_stream_costs_about_as_much_as_loading_it(meter: Meter) -> None:
    honest = min(run.seconds for run in meter.measure(__name__, LOADED)[MANY_PAGES])
    for cost in LOADING[1:3]:
        refused = meter.measure(__name__, cost)[MANY_PAGES]
        assert all(run.refused is not None for run in refused)
        assert min(run.seconds for run in refused) < 2 * honest + 0.01
