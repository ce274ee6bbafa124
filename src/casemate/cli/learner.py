"""Puts the learner's image where the gateway looks for it."""

import shutil
from pathlib import Path

FOLDER = "learner"
"""In the host's folder: the gateway's name for it."""

KEY = "learner.pem"
"""In the state directory, out of the host's reach: of the developer who signs it, made on first use and kept, so that
what the learner sealed for MRSIGNER opens after an update of the runtime."""

_BUILT_FOR = "runtime"
"""A file beside the image: for which runtime it was built."""


def put_learner_image(state: Path, *, platform: str, runtime_digest: bytes) -> None:
    """Builds and signs the learner's image for a machine's runtime, unless that is there already.

    Args:
        state: the machine's state directory.
        platform: the platform's tag, as in casemate.lock.
        runtime_digest: SHA-256 of the runtime's files.
    """
    from casemate.link.places import host_directory

    place = host_directory(state) / FOLDER
    wanted = f"{platform} {runtime_digest.hex()}\n"
    if _built_for(place) == wanted:
        return
    from casemate.images.image import write_image
    from casemate.images.keys import load_or_create_key
    from casemate.images.learner import learner_image

    image = learner_image(platform, runtime_digest, load_or_create_key(state / KEY))
    draft = state / f"{FOLDER}.new"  # not where a hostile host could have put a link in its way
    shutil.rmtree(draft, ignore_errors=True)
    write_image(image, draft)
    (draft / _BUILT_FOR).write_text(wanted)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    shutil.rmtree(place, ignore_errors=True)
    draft.replace(place)


def _built_for(place: Path) -> str:
    try:
        return (place / _BUILT_FOR).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
