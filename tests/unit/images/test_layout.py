import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import FolderError
from casemate.images.functions.folder import measured_files
from casemate.images.functions.javascript.links import link_modules
from casemate.images.functions.starter import write_starter
from casemate.images.layout import CircularImportsError, lay_out, load_order, page_flags_of, read_pages
from casemate.images.lock import this_platform, write_lock
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.image_index import ImageIndex, Link, parse_index
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart
from casemate.wire.sgx.sgxs import CODE_PAGE, DATA_PAGE, PAGE_SIZE, Sgxs

RUNTIME = (RuntimePart("core", bytes(32)), RuntimePart("javascript", b"\x01" * 32))


def _link(importer: str, target: str) -> Link:
    return Link(importer, "./x", target, 0, 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    folder = tmp_path_factory.mktemp("starter")
    write_starter(folder)
    write_lock(folder, RuntimeLock().with_runtime(this_platform(), RUNTIME))
    return measured_files(folder)


@pytest.fixture(scope="module")
def sgxs(files: Mapping[str, bytes]) -> Sgxs:
    return lay_out(files, link_modules(files).links, engine="javascript")


def test_files_come_back_out_of_the_pages(files: Mapping[str, bytes], sgxs: Sgxs) -> None:
    contents = read_pages(sgxs.linear_contents())
    assert contents.files == files
    assert contents.lock.digests("core", this_platform()) == (bytes(32),)
    assert contents.index.engine == "javascript"
    assert contents.manifest.main == "guest/main.js"
    assert contents.index.links == link_modules(files).links


def test_the_enclave_is_what_its_stream_says(sgxs: Sgxs) -> None:
    assert Sgxs.parse(sgxs.encode()) == sgxs


def test_modules_come_after_what_they_import_with_their_links(files: Mapping[str, bytes], sgxs: Sgxs) -> None:
    modules = read_pages(sgxs.linear_contents()).modules()
    assert [module.path for module in modules] == ["guest/common.json", "guest/guesses.js", "guest/main.js"]
    for module in modules:
        assert module.source == files[module.path]
        for link in module.links:
            assert module.source[link.start + 1 : link.end - 1].decode() == link.specifier


def test_code_may_be_executed_and_nothing_written() -> None:
    assert page_flags_of("guest/main.js") == page_flags_of("guest/a/b.mjs") == CODE_PAGE
    for path in ("guest/data.json", "casemate.toml", "schemas/a.js", "guest/readme"):
        assert page_flags_of(path) == DATA_PAGE


def test_the_enclaves_range_is_the_least_power_of_two() -> None:
    def size(pages: int) -> int:
        files = {"casemate.toml": bytes((pages - 1) * PAGE_SIZE)}
        return lay_out(files, (), engine="javascript").ecreate.size // PAGE_SIZE

    assert [size(pages) for pages in (1, 2, 3, 4, 5, 8, 9)] == [2, 2, 4, 4, 8, 8, 16]


def test_an_empty_file_takes_no_page() -> None:
    index = parse_index(lay_out({"guest/a.js": b"", "guest/b.js": b"x"}, (), engine="javascript").contents)
    assert [(entry.offset, entry.size) for entry in index.entries] == [(4096, 0), (4096, 1)]


def test_refuses_more_pages_than_an_enclave_has() -> None:
    with pytest.raises(FolderError, match="bytes of pages"):
        lay_out({f"guest/{number}.json": bytes(16 << 20) for number in range(4)}, (), engine="javascript")


def test_load_order_reaches_what_is_imported_alone() -> None:
    links = (_link("a", "b"), _link("b", "c"), _link("a", "c"), _link("x", "y"))
    assert load_order(links, ["a"]) == ("c", "b", "a")


def test_refuses_a_circle_and_names_it() -> None:
    with pytest.raises(CircularImportsError, match="b -> c -> b"):
        load_order((_link("a", "b"), _link("b", "c"), _link("c", "b")), ["a"])


def test_a_long_circle_is_named_in_short() -> None:
    links = tuple(_link(f"{number:04}", f"{(number + 1) % 4000:04}") for number in range(4000))
    with pytest.raises(CircularImportsError, match=r"0000 -> 0001 .* -> \.\.\. -> 0000") as refusal:
        load_order(links, ["0000"])
    assert len(str(refusal.value)) < 200
    assert len(refusal.value.circle) == 4001


def test_a_long_chain_of_imports_is_no_deep_recursion() -> None:
    links = tuple(_link(f"{number:04}", f"{number + 1:04}") for number in range(4000))
    assert load_order(links, ["0000"])[0] == "4000"


def _pages_with(sgxs: Sgxs, index: ImageIndex) -> bytes:
    """The same pages under another index of the same length."""
    encoded = index.encode()
    return encoded + sgxs.contents[len(encoded) :]


def test_refuses_a_file_that_is_not_the_indexs(sgxs: Sgxs) -> None:
    last = bytearray(sgxs.contents)
    at = parse_index(sgxs.contents).entries[-1].offset
    last[at] ^= 1
    with pytest.raises(WireError, match=r"Entry\.sha256"):
        read_pages(bytes(last))


def test_refuses_bytes_in_the_padding(sgxs: Sgxs) -> None:
    with pytest.raises(WireError, match="padding"):
        read_pages(sgxs.contents[:-1] + b"\x01")


def test_refuses_a_link_to_where_no_specifier_stands(sgxs: Sgxs) -> None:
    index = parse_index(sgxs.contents)
    first = replace(index.links[0], start=index.links[0].start + 1, end=index.links[0].end + 1)
    with pytest.raises(WireError, match=r"Link\.start"):
        read_pages(_pages_with(sgxs, replace(index, links=(first, *index.links[1:]))))


def test_refuses_an_engine_that_is_not_the_manifests(files: Mapping[str, bytes]) -> None:
    """The chip compares the lock with the head's engine: this one would run on an engine that nobody has compared."""
    with pytest.raises(WireError, match=r"ImageIndex\.engine is 'python'.*javascript, as in the manifest"):
        read_pages(lay_out(files, link_modules(files).links, engine="python").linear_contents())


@pytest.mark.parametrize("missing", ["casemate.toml", "casemate.lock"])
def test_refuses_pages_without_manifest_or_lock(files: Mapping[str, bytes], missing: str) -> None:
    rest = {path: content for path, content in files.items() if path != missing}
    with pytest.raises(WireError, match=missing):
        read_pages(lay_out(rest, (), engine="javascript").contents)


def test_refuses_a_manifest_that_names_what_is_not_measured(files: Mapping[str, bytes]) -> None:
    rest = {path: content for path, content in files.items() if path != "schemas/rate.input.json"}
    with pytest.raises(ManifestError, match=r"entry\.rate\.input"):
        read_pages(lay_out(rest, (), engine="javascript").contents)


@given(data=st.data())
def test_changed_pages_are_refused_with_a_typed_error(sgxs: Sgxs, data: st.DataObject) -> None:
    pages = bytearray(sgxs.contents)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 1500) | st.integers(0, len(pages) - 1))
        pages[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del pages[data.draw(st.integers(0, len(pages))) :]
    try:
        contents = read_pages(bytes(pages))
        contents.modules()
    except CasemateError:
        return
    assert contents.index.encode() == bytes(pages[: len(contents.index.encode())])


@given(st.binary(max_size=300))
def test_random_pages_are_refused_with_a_typed_error(data: bytes) -> None:
    for pages in (data, b"casemate\x02\x00" + data):
        with pytest.raises(CasemateError):
            read_pages(pages)


@given(
    st.dictionaries(
        st.from_regex(r"[a-d]{1,3}(/[a-d]{1,3}){0,2}", fullmatch=True), st.binary(max_size=5000), max_size=5
    )
)
def test_any_files_have_one_layout(files: dict[str, bytes]) -> None:
    sgxs = lay_out(files, (), engine="javascript")
    again = lay_out(dict(reversed(files.items())), (), engine="javascript")
    assert again == sgxs
    assert Sgxs.parse(sgxs.encode()) == sgxs
    index = parse_index(sgxs.linear_contents())
    assert [entry.path for entry in index.entries] == sorted(files, key=str.encode)


def test_reading_pages_imports_no_parser_and_no_cipher() -> None:
    script = (
        "import sys, casemate.images.layout;"
        "print([name for name in ('tree_sitter', 'cryptography', 'asyncio', 'subprocess') if name in sys.modules])"
    )
    source = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=source)
    assert done.stdout.strip() == "[]"
