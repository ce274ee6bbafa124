"""Puts the learner's image and the built-in guests where the gateway looks for them."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.files import InputFileError, OutputFileError
from casemate.process.plain_file import NoPlainFileError, check_plain, read_plain
from casemate.wire.errors import MissingExtraError, os_error_text
from casemate.wire.protocol.runtime_lock import Runtime

if TYPE_CHECKING:
    from casemate.images.image import Image

FOLDER = "learner"
"""The image's folder in the host's folder, where the gateway looks for it."""

GUESTS = "guests"
"""Folder for the firmware of the confidential VMs' built-in guests, which the gateway cannot assemble."""

KEY = "learner.pem"
"""In the state directory, out of the host's reach: of the developer who signs it, made on first use and kept, so that
what the learner sealed for MRSIGNER opens after an update of the runtime."""

_BUILT_FOR = "runtime"
"""A file beside the image: for which runtime it was built."""

_MOST = 64 * 1024
"""Bytes of that file."""


def put_learner_image(state: Path, *, platform: str, runtime: Runtime) -> None:
    """Builds and signs the learner's image for a machine's runtime, unless that is there already.

    Args:
        state: the machine's state directory.
        platform: the platform's tag, as in casemate.lock.
        runtime: what the machine's enclaves run on.
    """
    from casemate.process.places import host_directory

    place = host_directory(state) / FOLDER
    wanted = f"{platform} {' '.join(f'{part.component}={part.digest.hex()}' for part in runtime)}\n"
    if _built_for(place) == wanted:
        return
    from casemate.cli.developer_key_file import load_or_create_key
    from casemate.images.functions.learner import learner_image
    from casemate.images.image import write_image

    try:
        check_plain(state / KEY)
    except NoPlainFileError as error:
        raise InputFileError(f"{state / KEY}: {os_error_text(error)}: remove it, and another key is made") from None
    image = learner_image(platform, runtime, load_or_create_key(state / KEY))
    with _replacing(place, state / f"{FOLDER}.new") as draft:
        write_image(image, draft)
        (draft / _BUILT_FOR).write_text(wanted)


def installed_learner_image() -> "Image":
    """The learner's image as the installed package makes it for this computer's runtime.

    Its measurement is what counts: the key that signs it is made for the occasion.
    """
    from casemate.cli.images import runtime
    from casemate.images.functions.learner import learner_image
    from casemate.images.keys import DeveloperKey

    here = runtime()
    return learner_image(here.platform, here.parts, DeveloperKey.generate())


def assembled_guests() -> dict[str, bytes]:
    """The firmware of each built-in VM's guest, by name: some tenths of a second. None without the extra "vm"."""
    from casemate.images.vm.builtin import GUESTS as NAMES
    from casemate.images.vm.builtin import firmware

    try:
        return {name: firmware(name) for name in NAMES}
    except MissingExtraError:
        return {}  # a machine without VMs; the gateway says what is missing when it is asked for one


def put_guests(state: Path, guests: Mapping[str, bytes]) -> None:
    """Puts the firmware of the built-in VMs' guests where the gateway looks for it.

    Args:
        state: the machine's state directory.
        guests: from :func:`assembled_guests`.

    Raises:
        OutputFileError: it cannot be written.
    """
    from casemate.process.places import host_directory

    with _replacing(host_directory(state) / GUESTS, state / f"{GUESTS}.new") as draft:
        draft.mkdir(mode=0o700)
        for name, content in guests.items():
            (draft / f"{name}.fd").write_bytes(content)


@contextmanager
def _replacing(place: Path, draft: Path) -> Iterator[Path]:
    """A draft folder that replaces ``place`` as a whole. A hostile host cannot reach it to put a link there."""
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        place.parent.mkdir(mode=0o700, exist_ok=True)
        if place.is_symlink():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        draft.replace(place)
    except OSError as error:  # its message has no file name where the disk is full
        raise OutputFileError(f"{error.filename or draft}: cannot be written: {os_error_text(error)}") from None


def _built_for(place: Path) -> str:
    try:
        return read_plain(place / _BUILT_FOR, _MOST).decode()
    except (OSError, UnicodeDecodeError):
        return ""
