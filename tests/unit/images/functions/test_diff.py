import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from casemate.images.functions import diff
from casemate.images.functions.build import build
from casemate.images.functions.diff import Difference, diff_images
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import read_lock, write_lock
from casemate.wire.protocol.runtime_lock import RuntimePart
from casemate.wire.sgx.sgxs import DATA_PAGE, Ecreate, Segment, Sgxs


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def before(folder: Path, developer_key: DeveloperKey) -> Image:
    return build(folder, developer_key, epoch=0)


def _lines(old: Image, new: Image) -> list[tuple[str, str | None, str | None]]:
    found = diff_images(old, new)
    assert any(difference.measured for difference in found) == (old.mr_enclave != new.mr_enclave)
    return [(difference.where, difference.old, difference.new) for difference in found]


def test_an_image_does_not_differ_from_itself(before: Image) -> None:
    assert diff_images(before, before) == ()


SCHEMA = "schemas/rate.input.json"
TYPES = '["object", "null"]'
LIMITS = ('"[limits] # of one call"', '"[limits] # all # of one call"')


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("casemate.toml", "time_ms = 2000", "time_ms = 1"), ("casemate.toml: limits.time_ms", "2000", "1")),
        (
            ("casemate.toml", 'isolation = "caller"', 'isolation = "shared"'),
            ("casemate.toml: enclave.isolation", '"caller"', '"shared"'),
        ),
        (
            ("casemate.toml", "[callers]", '[errors]\nbudget-spent = "No more."\n\n[callers]'),
            ("casemate.toml: errors.budget-spent", None, '"No more."'),
        ),
        (
            ("casemate.toml", "permissions = [", 'permissions = ["seal", '),
            ("casemate.toml: enclave.permissions[0]", None, '"seal"'),
        ),
        (
            ("casemate.toml", "[callers]", "[receipt]\nmetrics = true\n\n[callers]"),
            ("casemate.toml: receipt", None, '{"metrics": true}'),
        ),
        (
            ("casemate.toml", "[callers]", '[monitor.ocalls]\nmost = 6\nthen = "slow"\n\n[callers]'),
            ("casemate.toml: monitor", None, '{"ocalls": {"most": 6, "then": "slow"}}'),
        ),
        (("casemate.toml", "# guests = 4", "guests = 4"), ("casemate.toml: limits.guests", None, "4")),
        (("casemate.toml", "[limits]", "[limits] # all"), ("casemate.toml:14", *LIMITS)),
        (("guest/main.js", "\n// There", "\n// Here"), ("guest/main.js:4", ANY, ANY)),
        (("guest/common.json", '"dragon"', '"x"'), ("guest/common.json: [14]", '"dragon"', '"x"')),
        (("guest/common.json", ', "secret"', ""), ("guest/common.json: [19]", '"secret"', None)),
        ((SCHEMA, '"minLength": 1, ', ""), (f"{SCHEMA}: properties.password.minLength", "1", None)),
        ((SCHEMA, "256", "1"), (f"{SCHEMA}: properties.password.maxLength", "256", "1")),
        ((SCHEMA, "false", "true"), (f"{SCHEMA}: additionalProperties", "false", "true")),
        ((SCHEMA, '"object"', TYPES), (f"{SCHEMA}: type", '"object"', TYPES)),
    ],
)
def test_a_change_is_named_down_to_the_key_or_line(
    folder: Path, developer_key: DeveloperKey, change: tuple[str, str, str], line: tuple[object, ...]
) -> None:
    path, old, new = change
    before = build(folder, developer_key, epoch=0)
    _edit(folder / path, old, new)
    assert _lines(before, build(folder, developer_key, epoch=0)) == [line]


def test_files_that_come_and_go_are_named(folder: Path, developer_key: DeveloperKey, before: Image) -> None:
    (folder / "guest/more.txt").write_bytes(b"12345")
    after = build(folder, developer_key, epoch=0)
    size = ("SECS size", "32768", "65536")
    assert _lines(before, after) == [("guest/more.txt", None, "5 bytes"), size]
    assert _lines(after, before)[0] == ("guest/more.txt", "5 bytes", None)


def test_another_runtime_is_named_by_its_platform(folder: Path, developer_key: DeveloperKey, before: Image) -> None:
    lock = read_lock(folder).with_runtime("linux-aarch64-cp312", [RuntimePart("core", b"\x01" * 32)])
    write_lock(folder, lock)
    where, was, became = _lines(before, build(folder, developer_key, epoch=0))[0]
    assert where == "casemate.lock: core.linux-aarch64-cp312"
    assert was is None
    assert became == f'["{"01" * 32}"]'


def test_what_is_signed_alone_is_told_apart(folder: Path, developer_key: DeveloperKey, before: Image) -> None:
    other = DeveloperKey.generate()
    found = diff_images(before, build(folder, other, epoch=86_400))
    assert found == (
        Difference("MRSIGNER", developer_key.mr_signer().hex(), other.mr_signer().hex(), measured=False),
        Difference("SIGSTRUCT date", "19700101", "19700102", measured=False),
    )


def test_identity_and_attributes_differ_in_manifest_and_sigstruct(
    folder: Path, developer_key: DeveloperKey, before: Image
) -> None:
    _edit(folder / "casemate.toml", "debug = false", "debug = true")
    _edit(folder / "casemate.toml", "product_id = 1", "product_id = 9")
    assert _lines(before, build(folder, developer_key, epoch=0)) == [
        ("casemate.toml: enclave.product_id", "1", "9"),
        ("casemate.toml: enclave.debug", "false", "true"),
        ("SIGSTRUCT attributes.flags", "4 MODE64BIT", "6 DEBUG|MODE64BIT"),
        ("SIGSTRUCT isv_prod_id", "1", "9"),
    ]


def _with_stream(image: Image, sgxs: Sgxs) -> Image:
    return Image(image.name, sgxs.encode(), image.sigstruct)


def test_the_same_files_in_another_enclave_differ_in_range_or_flags(before: Image) -> None:
    sgxs = before.parse_sgxs()
    larger = replace(sgxs, ecreate=Ecreate(2, sgxs.ecreate.size * 2))
    assert _lines(before, _with_stream(before, larger)) == [
        ("SECS size", str(sgxs.ecreate.size), str(sgxs.ecreate.size * 2)),
        ("SECS ssa_frame_size", "1", "2"),
    ]
    flat = replace(sgxs, segments=(Segment(0, len(sgxs.contents), DATA_PAGE),))
    assert [line[0] for line in _lines(before, _with_stream(before, flat))] == ["page order and flags"]


def test_other_peoples_enclaves_differ_by_page(before: Image) -> None:
    pages = 40
    old = Sgxs(Ecreate(1, 64 * 4096), (Segment(0, pages * 4096, DATA_PAGE),), bytes(pages * 4096))
    one = replace(old, contents=bytes(4096) + b"x" + old.contents[4097:])
    all_other = replace(old, contents=b"x" * len(old.contents))
    first, second, third = (_with_stream(before, sgxs) for sgxs in (old, one, all_other))
    assert [line[0] for line in _lines(first, second)] == ["page 0x1000"]
    assert _lines(first, third)[-1][0] == "24 more pages"
    assert [line[0] for line in _lines(before, first)] == ["page order and flags", "SECS size"]


def test_a_file_of_too_many_differences_is_told_by_its_first_line() -> None:
    few, many, other = (json.dumps([value] * count).encode() for value, count in ((1, 1000), (1, 1001), (2, 1001)))
    assert len(list(diff._changed("data.json", few, few.replace(b"1", b"2")))) == 1000
    (found,) = diff._changed("data.json", many, other)
    assert found.where == "data.json:1"
