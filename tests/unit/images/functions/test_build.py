import hashlib
import os
import shutil
import struct
import subprocess
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from casemate.images.errors import BuildTimeError, FolderError, SourceError
from casemate.images.functions import build as module
from casemate.images.functions.build import build, day_of, measured_stream
from casemate.images.functions.folder import measured_files
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import this_platform
from casemate.wire.errors import WireError
from casemate.wire.protocol.image_index import LOCK_PATH
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.runtime_lock import Record, RuntimeLock, RuntimeLockError, RuntimePart
from casemate.wire.sgx.attributes import AttributeFlag
from casemate.wire.sgx.sgxs import DATA_PAGE, PAGE_SIZE, Ecreate, Segment, Sgxs
from casemate.wire.sgx.sigstruct_signature import verify_sigstruct

EPOCH = 1_700_000_000


def _measure_by_the_book(contents: bytes, segments: tuple[Segment, ...], size: int) -> str:
    """MRENCLAVE as SDM volume 3D has it: the operation sections of ECREATE, EADD and EEXTEND, one update at a time."""
    mr_enclave = hashlib.sha256(struct.pack("<QIQ44x", 0x0045544145524345, 1, size))
    at = 0
    for segment in segments:
        for page in range(segment.offset, segment.end, 4096):
            mr_enclave.update(struct.pack("<QQQ40x", 0x0000000044444145, page, segment.flags))
            for chunk in range(0, 4096, 256):
                mr_enclave.update(struct.pack("<QQ48x", 0x00444E4554584545, page + chunk))
                mr_enclave.update(contents[at + chunk : at + chunk + 256])
            at += 4096
    return mr_enclave.hexdigest()


def test_the_measurement_is_that_of_the_book(folder: Path, developer_key: DeveloperKey) -> None:
    image = build(folder, developer_key, epoch=EPOCH)
    sgxs = image.parse_sgxs()
    by_the_book = _measure_by_the_book(sgxs.contents, sgxs.segments, sgxs.ecreate.size)
    assert image.mr_enclave.hex() == by_the_book == hashlib.sha256(image.sgxs).hexdigest()
    assert image.parse_sigstruct().enclave_hash == image.mr_enclave


def test_the_sigstruct_says_what_the_manifest_says(folder: Path, developer_key: DeveloperKey) -> None:
    image = build(folder, developer_key, epoch=EPOCH)
    sigstruct = image.parse_sigstruct()
    verify_sigstruct(sigstruct)
    assert (sigstruct.isv_prod_id, sigstruct.isv_svn, sigstruct.date) == (1, 1, 0x20231114)
    assert sigstruct.attributes.flags == AttributeFlag.MODE64BIT
    assert sigstruct.attributes.xfrm == 3
    assert image.mr_signer == developer_key.mr_signer()
    assert image.name == "starter"


def test_a_debug_enclave_is_signed_as_one(folder: Path, developer_key: DeveloperKey) -> None:
    _edit(folder / "casemate.toml", "debug = false", "debug = true")
    assert build(folder, developer_key, epoch=0).parse_sigstruct().attributes.debug


def test_the_same_folder_gives_the_same_bytes_anywhere_and_at_any_time(
    folder: Path, developer_key: DeveloperKey, tmp_path: Path
) -> None:
    first = build(folder, developer_key, epoch=EPOCH)
    elsewhere = tmp_path / "some" / "where else"
    elsewhere.mkdir(parents=True)
    for path, content in reversed(measured_files(folder).items()):  # created in another order
        copy = elsewhere / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        copy.chmod(0o755)
        os.utime(copy, (1, 1))
    again = build(elsewhere, DeveloperKey.from_pem(developer_key.pem()), epoch=EPOCH + 60)
    assert (again.sgxs, again.sigstruct) == (first.sgxs, first.sigstruct)
    assert build(folder, developer_key, epoch=EPOCH) == first


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


MEASURED = [
    "casemate.lock",
    "casemate.toml",
    "guest/common.json",
    "guest/guesses.js",
    "guest/main.js",
    "schemas/rate.input.json",
    "schemas/rate.output.json",
]


def test_all_that_is_tried_below_is_all_that_is_measured(folder: Path) -> None:
    assert list(measured_files(folder)) == MEASURED


@pytest.mark.parametrize("path", MEASURED)
def test_any_changed_measured_file_changes_the_measurement(
    folder: Path, developer_key: DeveloperKey, path: str
) -> None:
    before = build(folder, developer_key, epoch=EPOCH)
    with (folder / path).open("ab") as file:
        file.write(b"\n" if path != LOCK_PATH else Record("python", this_platform(), bytes(32)).encode())
    assert build(folder, developer_key, epoch=EPOCH).mr_enclave != before.mr_enclave


@pytest.mark.parametrize(("old", "new"), [("guest/common.json", "guest/frequent.json"), ("guest/new.txt", None)])
def test_a_renamed_or_added_file_changes_the_measurement(
    folder: Path, developer_key: DeveloperKey, old: str, new: str | None
) -> None:
    before = build(folder, developer_key, epoch=EPOCH)
    if new is None:
        (folder / old).write_bytes(b"")
    else:
        (folder / old).rename(folder / new)
        _edit(folder / "guest/guesses.js", "./common.json", "./frequent.json")
    assert build(folder, developer_key, epoch=EPOCH).mr_enclave != before.mr_enclave


def test_what_is_not_measured_changes_nothing(folder: Path, developer_key: DeveloperKey) -> None:
    before = build(folder, developer_key, epoch=EPOCH)
    for path in ("README.md", "input.json", "tests/main.test.js", "new.txt", "guest/.main.js.swp"):
        (folder / path).write_text("changed")
    assert build(folder, developer_key, epoch=EPOCH) == before


def test_key_and_day_are_signed_but_not_measured(folder: Path, developer_key: DeveloperKey) -> None:
    before = build(folder, developer_key, epoch=EPOCH)
    other = build(folder, DeveloperKey.generate(), epoch=EPOCH + 86_400)
    assert other.mr_enclave == before.mr_enclave
    assert other.mr_signer != before.mr_signer
    assert other.parse_sigstruct().date == before.parse_sigstruct().date + 1


def _openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("there is no openssl command")
    return found


def _big_endian_files(image: Image, folder: Path) -> tuple[Path, Path, Path]:
    """Public key, signature and message as plain OpenSSL wants them, cut from the bytes by hand."""
    data = image.sigstruct
    modulus = int.from_bytes(data[128:512], "little")
    exponent = int.from_bytes(data[512:516], "little")
    key, signature, message = folder / "key.pem", folder / "signature", folder / "message"
    public = RSAPublicNumbers(exponent, modulus).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signature.write_bytes(data[516:900][::-1])
    message.write_bytes(data[0:128] + data[900:1028])
    return key, signature, message


def test_plain_openssl_verifies_our_sigstruct_and_refuses_another_message(
    folder: Path, developer_key: DeveloperKey, tmp_path: Path
) -> None:
    openssl = _openssl()
    key, signature, message = _big_endian_files(build(folder, developer_key, epoch=EPOCH), tmp_path)
    command = [openssl, "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(message)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "Verified OK"
    message.write_bytes(bytes(256))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_refuses_a_folder_without_a_lock(folder: Path, developer_key: DeveloperKey) -> None:
    (folder / "casemate.lock").unlink()
    with pytest.raises(FolderError, match=r"no casemate\.lock.*casemate build DIR"):
        build(folder, developer_key, epoch=EPOCH)


@pytest.mark.parametrize("lock", ["", "[runtime]\nx = 1", "[runtime]\nlinux-x86_64-cp311 = 'ab'", "\0"])
def test_refuses_a_lock_that_is_none(folder: Path, developer_key: DeveloperKey, lock: str) -> None:
    (folder / "casemate.lock").write_text(lock)
    with pytest.raises(WireError, match=r"casemate\.lock"):
        build(folder, developer_key, epoch=EPOCH)


@pytest.mark.parametrize("parts", [(), ("core",), ("javascript",), ("core", "python")])
def test_refuses_a_lock_without_core_and_engine(
    folder: Path, developer_key: DeveloperKey, parts: tuple[str, ...]
) -> None:
    lock = RuntimeLock().with_runtime(this_platform(), [RuntimePart(part, bytes(32)) for part in parts])
    lock = lock.with_runtime("plan9-mips-cp399", [RuntimePart("javascript", bytes(32))])
    (folder / "casemate.lock").write_bytes(lock.encode())
    with pytest.raises(
        RuntimeLockError, match=r"casemate\.lock is without a platform that has both.*core and javascript"
    ):
        build(folder, developer_key, epoch=EPOCH)


def test_refuses_an_entry_point_that_the_main_module_does_not_export(folder: Path, developer_key: DeveloperKey) -> None:
    _edit(folder / "guest/main.js", "export function rate", "function rate")
    with pytest.raises(ManifestError, match=r"entry\.rate is not exported by guest/main\.js"):
        build(folder, developer_key, epoch=EPOCH)


def test_leaves_exports_that_stand_elsewhere_to_the_engine(folder: Path, developer_key: DeveloperKey) -> None:
    (folder / "guest/main.js").rename(folder / "guest/rate.js")
    (folder / "guest/main.js").write_text('export * from "./rate.js";')
    assert build(folder, developer_key, epoch=EPOCH).contents().modules()[-1].path == "guest/main.js"


def test_refuses_a_main_module_that_looks_like_a_promise(folder: Path, developer_key: DeveloperKey) -> None:
    with (folder / "guest/main.js").open("a") as file:
        file.write("export function then() {}")
    with pytest.raises(ManifestError, match="exports `then`"):
        build(folder, developer_key, epoch=EPOCH)


def test_refuses_source_that_cannot_be_linked(folder: Path, developer_key: DeveloperKey) -> None:
    (folder / "guest/unused.js").write_text('import "fs"')
    with pytest.raises(SourceError, match=r"guest/unused\.js:1:8"):
        build(folder, developer_key, epoch=EPOCH)


def test_a_build_time_is_a_day() -> None:
    assert day_of(0) == date(1970, 1, 1)
    assert day_of(-1) == date(1969, 12, 31)
    for epoch in (1 << 40, 1 << 80, -(1 << 40)):
        with pytest.raises(BuildTimeError, match="SOURCE_DATE_EPOCH"):
            day_of(epoch)


@pytest.mark.parametrize("at_once", [1, 100_000, 1 << 30])
def test_a_stream_is_measured_while_it_is_written(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HASHED_AT_ONCE", at_once)
    size = 150 * PAGE_SIZE
    segment = Segment(0, size, DATA_PAGE)
    sgxs = Sgxs(Ecreate(1, 1 << 20), (segment,), os.urandom(size))
    stream, mr_enclave = measured_stream(sgxs)
    assert Sgxs.parse(stream) == sgxs
    assert mr_enclave.hex() == _measure_by_the_book(sgxs.contents, sgxs.segments, 1 << 20)


def test_what_is_no_enclave_is_not_measured() -> None:
    sgxs = Sgxs(Ecreate(1, 1 << 20), (Segment(0, 2 * PAGE_SIZE, DATA_PAGE),), bytes(PAGE_SIZE))
    with pytest.raises(WireError, match="2 pages"):
        measured_stream(sgxs)
