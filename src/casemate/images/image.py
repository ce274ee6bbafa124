"""An image: an SGXS stream and the SIGSTRUCT over it; on disk NAME.sgxs and NAME.sigstruct."""

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.images.errors import ImageFileError
from casemate.wire.errors import os_error_text
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.sgx.sgxs import Sgxs, measure_sgxs
from casemate.wire.sgx.sigstruct import SIGSTRUCT_SIZE, Sigstruct
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.paravirtual import guest_pages

if TYPE_CHECKING:
    from casemate.images.layout import ImageContents

SGXS_SUFFIX = ".sgxs"
SIGSTRUCT_SUFFIX = ".sigstruct"


@dataclass(frozen=True)
class Image:
    """An image: the contents of its two files, parsed when asked for."""

    name: str
    """The files' name without suffix. It is not measured."""
    sgxs: bytes
    sigstruct: bytes

    @cached_property
    def mr_enclave(self) -> bytes:
        """MRENCLAVE: SHA-256 of the stream, whatever the SIGSTRUCT says."""
        return measure_sgxs(self.sgxs)

    @cached_property
    def launch_digest(self) -> bytes:
        """The launch digest of its pages as an SEV-SNP guest (48 bytes); WireError where the stream is malformed."""
        return digest_of(guest_pages(self.parse_sgxs().linear_contents()))

    @cached_property
    def mr_signer(self) -> bytes:
        """MRSIGNER: SHA-256 of the SIGSTRUCT's modulus."""
        return self.parse_sigstruct().mr_signer()

    def parse_sgxs(self) -> Sgxs:
        """The parsed stream; :class:`casemate.wire.errors.WireError` where it is malformed."""
        return Sgxs.parse(self.sgxs)

    def parse_sigstruct(self) -> Sigstruct:
        """The SIGSTRUCT, with its signature unchecked; WireError where it is malformed."""
        return Sigstruct.parse(self.sigstruct)

    def contents(self) -> "ImageContents":
        """Manifest, lock and files from the pages; WireError or ManifestError where they break a rule."""
        from casemate.images.layout import read_pages  # compiles schemas: clients that launch need no engine for that

        return read_pages(self.parse_sgxs().linear_contents())


def write_image(image: Image, folder: Path) -> tuple[Path, Path]:
    """Writes both files into a folder, which it makes; returns their paths, the stream's first."""
    paths = folder / f"{image.name}{SGXS_SUFFIX}", folder / f"{image.name}{SIGSTRUCT_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_bytes(image.sgxs)
        paths[1].write_bytes(image.sigstruct)
    except OSError as error:
        raise ImageFileError(f"the image cannot be written to {folder}: {os_error_text(error)}") from None
    return paths


def read_image(path: Path) -> Image:
    """Reads an image. ``path`` names one of its files, both without a suffix, or a folder that holds one image."""
    if path.is_dir():
        streams = sorted(path.glob(f"*{SGXS_SUFFIX}"))
        if len(streams) != 1:
            raise ImageFileError(f"{path} holds {len(streams)} images, name one of them")
        path = streams[0]
    stem = path.with_suffix("") if path.suffix in (SGXS_SUFFIX, SIGSTRUCT_SUFFIX) else path
    return Image(
        stem.name,
        _read(stem.with_name(stem.name + SGXS_SUFFIX), MAX_SGXS),
        _read(stem.with_name(stem.name + SIGSTRUCT_SUFFIX), SIGSTRUCT_SIZE),
    )


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file without waiting for a writer, in case it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path, limit: int) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageFileError(f"{path} is no plain file")
            content = file.read(limit + 1)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {os_error_text(error)}") from None
    if len(content) > limit:
        raise ImageFileError(f"{path} is larger than {limit} bytes")
    return content
