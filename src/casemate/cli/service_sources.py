"""What `casemate service install` is given: a folder, an image's file, or a package that brings a folder.

A package says so by an entry point of the group ``casemate.services``: its name is the service's, its value
``PACKAGE:FOLDER``, the folder below the package in which casemate.toml lies. Nothing of the package is imported, here
or later: its files are built into an image, and only that is kept.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from casemate.cli.images import image_of, is_source, lock
from casemate.cli.output import Screen
from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from casemate.images.image import Image

GROUP = "casemate.services"


class ServiceSourceError(CasemateError):
    """There is nothing that can be installed as a service."""


@dataclass(frozen=True, slots=True)
class Source:
    """An image to install, and where it came from."""

    image: "Image"
    words: str


@contextmanager
def source_of(target: str, screen: Screen, *, key: Path | None, relock: bool) -> Iterator[Source]:
    """The image that a target means, built if it is a folder.

    Args:
        target: a folder, an image's file, or the name of an installed package's service.
        screen: told of what is written.
        key: the developer's key file; None for the user's own.
        relock: replace what a folder's lock accepts.

    Raises:
        ServiceSourceError: it is none of these.
    """
    path = Path(target)
    if path.exists():
        if is_source(path):
            lock(path, screen, relock=relock)
        yield Source(image_of(path, screen, key=key), str(path.resolve()))
        return
    found = _entry_point(target)
    with tempfile.TemporaryDirectory(prefix="casemate-service-") as place:
        folder = Path(place) / "service"
        shutil.copytree(_folder(found), folder, symlinks=True)  # a build writes its lock beside the manifest
        lock(folder, screen, relock=True)
        dist = found.dist
        version = "" if dist is None else f" {dist.name} {dist.version}"
        yield Source(image_of(folder, screen, key=key), f"package{version}: {found.value}")


def _entry_point(name: str) -> "EntryPoint":
    """The entry point of that name."""
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(sorted({each.name for each in entry_points(group=GROUP)})) or "none"
        raise ServiceSourceError(
            f"{name[:200]!r} is no folder with casemate.toml, no image's file, and no service of an installed package; "
            f"packages bring: {known}"
        )
    if len(found) > 1:
        brought = ", ".join(sorted(each.dist.name for each in found if each.dist is not None))
        raise ServiceSourceError(f"{len(found)} packages bring a service {name!r} ({brought}): give a folder's path")
    return found[0]


def _folder(found: "EntryPoint") -> Path:
    """The folder that an entry point names; its package is not imported."""
    from importlib.util import find_spec

    package, inner = found.module, PurePosixPath((found.attr or "").replace(".", "/"))
    if "." in package:  # to find what is below a package, Python would import the package
        raise ServiceSourceError(f"{found.value}: the package is {package}, want one without a point")
    spec = find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not places:
        raise ServiceSourceError(f"{found.value}: there is no package {package}")
    folder = Path(places[0], *inner.parts)
    if not is_source(folder) or not folder.resolve().is_relative_to(Path(places[0]).resolve()):
        raise ServiceSourceError(f"{found.value}: {folder} is no folder with casemate.toml below the package")
    return folder
