"""The examples' folders: as they are in the repository, and as images of callers who have keys."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from casemate.cli.developer_key_file import load_or_create_key
from casemate.client import CallerKey
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import write_lock
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.protocol.runtime_lock import RuntimeLock

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKLOADS = [
    EXAMPLES / name
    for name in (
        "integrity-counter",
        "keyword-search",
        "keyword-search-python",
        "private-scoring",
        "private-scoring-python",
        "sealed-bid-auction",
        "secret-manager",
    )
]
READERS = {"secret-manager": ["deployer"]}
"""Callers whom a manifest would name without admitting them anywhere by name."""
EPOCH = 1_760_000_000


def named_callers(folder: Path) -> list[str]:
    """The callers of an example: whose keys its reader has to make."""
    found: list[str] = []
    for line in (folder / "casemate.toml").read_text().splitlines():
        if line.startswith("callers = ["):
            found += [name.strip(' "') for name in line.partition("[")[2].rstrip("]").split(",")]
    return list(dict.fromkeys(found + READERS.get(folder.name, [])))


def with_callers(manifest: str, callers: Mapping[str, CallerKey]) -> str:
    """A manifest with its callers' keys, which belong at its end, as the examples' pages say."""
    return manifest + "".join(f'{name} = "{key.manifest_value}"\n' for name, key in callers.items())


def committed_manifest(folder: Path) -> Manifest:
    """The manifest of an example, with keys for its callers."""
    callers = {name: CallerKey.generate() for name in named_callers(folder)}
    text = with_callers((folder / "casemate.toml").read_text(), callers)
    return parse_manifest(text.encode(), lambda path: (folder / path).read_bytes())


@dataclass(frozen=True)
class Built:
    """An example as an image, and the keys of its callers."""

    folder: Path
    key: DeveloperKey
    image: Image
    callers: Mapping[str, CallerKey]

    def next_version(self, edit: Callable[[str], str]) -> Image:
        """What the same developer makes of it with an edited manifest."""
        manifest = self.folder / "casemate.toml"
        manifest.write_text(edit(manifest.read_text()))
        return build(self.folder, self.key, epoch=EPOCH)


def built(name: str, lock: RuntimeLock, place: Path) -> Built:
    """Builds an example for new callers and with a new developer's key, so that no two have one sealed state."""
    folder = place / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("casemate.lock", "documents", "tests"))
    callers = {caller: CallerKey.generate() for caller in named_callers(folder)}
    manifest = folder / "casemate.toml"
    manifest.write_text(with_callers(manifest.read_text(), callers))
    write_lock(folder, lock)
    key = load_or_create_key(place / f"{name}.pem")
    return Built(folder, key, build(folder, key, epoch=EPOCH), callers)


def files_of(folder: Path) -> dict[Path, bytes]:
    """All files below a folder: what an operator could look through."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BuiltExample = Callable[[str], Built]
