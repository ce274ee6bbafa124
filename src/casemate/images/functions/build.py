"""Builds an image from a folder: the same folder, key and epoch give the same bytes, wherever and whenever."""

import hashlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from casemate.images.errors import BuildTimeError, FolderError
from casemate.images.functions.folder import measured_files
from casemate.images.functions.javascript.guest_code import check_guest_code as check_javascript
from casemate.images.functions.manifest_copy import Key, with_keys
from casemate.images.functions.python.guest_code import check_guest_code as check_python
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.layout import lay_out
from casemate.images.schemas.compiled import compile_schemas
from casemate.images.sigstruct import sign_enclave
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH, Link
from casemate.wire.protocol.manifest import Engine, Manifest
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.protocol.runtime_lock import CORE, RELOCK, RuntimeLock, RuntimeLockError
from casemate.wire.sgx.sgxs import Sgxs

_CHECKS: Final[Mapping[Engine, Callable[[Mapping[str, bytes], Manifest], tuple[Link, ...]]]] = {
    Engine.JAVASCRIPT: check_javascript,
    Engine.PYTHON: check_python,
}
"""For each engine: refuses code that can never be loaded, and gives the imports that the index lists."""

HASHED_AT_ONCE = 16 * 1024 * 1024
"""Bytes that the other thread hashes at once: between two updates it may wait 5 ms for the interpreter's lock."""


_UNCHANGED: Mapping[Key, bool | int | str] = MappingProxyType({})


def build(
    folder: Path,
    key: DeveloperKey,
    *,
    epoch: int,
    changes: Mapping[Key, bool | int | str] = _UNCHANGED,
    lock: RuntimeLock | None = None,
) -> Image:
    """The image of a folder that has its lock.

    Args:
        folder: holds casemate.toml, casemate.lock, guest/ and schemas/.
        key: signs the image.
        epoch: the build's time in seconds since 1970, such as SOURCE_DATE_EPOCH; its day (UTC) goes into SIGSTRUCT,
            and into nothing that is measured.
        changes: keys of casemate.toml that have other values in what is built: its MRENCLAVE is another's.
        lock: names the runtime in place of the folder's casemate.lock.

    Raises:
        FolderError: a file is missing or cannot be measured, or all of them are too large.
        ManifestError: casemate.toml or a schema is not as it has to be.
        SourceError: a module of the guest's code can never be loaded.
        RuntimeLockError: casemate.lock is malformed, or names no runtime that has the manifest's engine.
        BuildTimeError: the epoch is in no year from 1 to 9999.
    """
    files = measured_files(folder)
    if lock is not None:
        files = dict(sorted({**files, LOCK_PATH: lock.encode()}.items()))
    if LOCK_PATH not in files:
        missing = FolderError(f"{folder} has no {LOCK_PATH}, which names the runtime: `casemate build DIR` writes it")
        missing.advice = "build the folder first, on each platform once"
        raise missing
    named = RuntimeLock.parse(files[LOCK_PATH])
    if changes:
        files = {**files, MANIFEST_PATH: with_keys(files[MANIFEST_PATH], changes)}
    manifest = parse_manifest(files[MANIFEST_PATH], files.get)
    compile_schemas(manifest)  # refused here, not when an enclave boots
    _check_lock(named, manifest)
    links = _CHECKS[manifest.engine](files, manifest)
    stream, mr_enclave = measured_stream(lay_out(files, links, engine=manifest.engine))
    sigstruct = sign_enclave(mr_enclave, manifest, key, day=day_of(epoch))
    return Image(manifest.name, stream, sigstruct.encode())


def measured_stream(sgxs: Sgxs) -> tuple[bytes, bytes]:
    """The SGXS stream, and MRENCLAVE, which is its SHA-256; of a large one, a thread hashes what is already written."""
    stream, digest = io.BytesIO(bytes(sgxs.stream_size)), hashlib.sha256()
    with stream.getbuffer() as buffer, ThreadPoolExecutor(1) as other:
        hashed = 0
        for written in sgxs.write(buffer):
            if written - hashed >= HASHED_AT_ONCE:
                other.submit(digest.update, buffer[hashed:written])
                hashed = written
        other.shutdown()
        digest.update(buffer[hashed:])
    return stream.getvalue(), digest.digest()


def day_of(epoch: int) -> date:
    """The day (UTC) of a time in seconds since 1970."""
    try:
        return datetime.fromtimestamp(epoch, UTC).date()
    except (OverflowError, OSError, ValueError):
        raise BuildTimeError(f"SOURCE_DATE_EPOCH is {epoch}, which is in no year from 1 to 9999") from None


def _check_lock(lock: RuntimeLock, manifest: Manifest) -> None:
    """Checks that the lock names a core and the manifest's engine for at least one platform."""
    if not any(lock.digests(CORE, tag) and lock.digests(manifest.engine, tag) for tag in lock.platforms()):
        raise RuntimeLockError(
            LOCK_PATH, got="without a platform that has both", want=f"{CORE} and {manifest.engine}: {RELOCK}"
        )
