"""The host's catalogue: images and deployments, in one SQLite file, so that a new host goes on where the old one ended.

Nothing in it is secret, and nothing in it is believed: an image is code that everybody may read, and the chip measures
it anew at each launch. Every method is one transaction, durable when it returns. Not for two threads at a time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from casemate.process.plain_file import NoPlainFileError, check_database
from casemate.wire.errors import CasemateError
from casemate.wire.messages.host import ImageIs
from casemate.wire.protocol.tee import Tee

VERSION = 6
"""Version of the tables below (PRAGMA user_version)."""

_TABLES = """
CREATE TABLE image (
    image BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    mr_enclave BLOB NOT NULL,
    mr_signer BLOB NOT NULL,
    isv_prod_id INTEGER NOT NULL,
    isv_svn INTEGER NOT NULL,
    debug INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    sgxs BLOB NOT NULL,
    sigstruct BLOB NOT NULL,
    keeper TEXT NOT NULL DEFAULT ''
);
CREATE TABLE deployment (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    image BLOB NOT NULL REFERENCES image,
    wanted TEXT NOT NULL,
    tee TEXT NOT NULL,
    launcher TEXT NOT NULL DEFAULT '',
    owner BLOB
);
CREATE TABLE given (number INTEGER NOT NULL);
INSERT INTO given VALUES (0);
CREATE INDEX deployment_image ON deployment (image);
"""
_FUNCTIONS = """
CREATE TABLE function (
    name TEXT PRIMARY KEY,
    current INTEGER NOT NULL REFERENCES deployment,
    previous INTEGER REFERENCES deployment
);
"""
_BINDINGS = """
CREATE TABLE binding (
    number INTEGER NOT NULL REFERENCES deployment,
    alias TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (number, alias)
);
"""
_FROM_1 = """
ALTER TABLE deployment ADD COLUMN launcher TEXT NOT NULL DEFAULT '';
ALTER TABLE image ADD COLUMN keeper TEXT NOT NULL DEFAULT '';
"""
_OWNERS = """
ALTER TABLE deployment ADD COLUMN owner BLOB;
"""
_SERVICES = """
CREATE TABLE service (
    name TEXT PRIMARY KEY,
    image BLOB NOT NULL REFERENCES image,
    source TEXT NOT NULL
);
"""
_UPGRADES = {
    0: _TABLES + _FUNCTIONS + _BINDINGS + _SERVICES,
    1: _FROM_1 + _FUNCTIONS + _BINDINGS + _OWNERS + _SERVICES,
    2: _FUNCTIONS + _BINDINGS + _OWNERS + _SERVICES,
    3: _BINDINGS + _OWNERS + _SERVICES,
    4: _OWNERS + _SERVICES,
    5: _SERVICES,
}
"""What makes this version's tables out of those of each earlier one; 0 is an empty file."""

_ABOUT = "image, name, size, mr_enclave, mr_signer, isv_prod_id, isv_svn, debug"


class CatalogueError(CasemateError):
    """The catalogue cannot be read or written."""


class Wanted(StrEnum):
    """The state that a deployment is meant to have."""

    RUNNING = "running"
    STOPPED = "stopped"
    CANDIDATE = "candidate"
    """Launched to replace another, and not switched to yet: the next host forgets it."""


@dataclass(frozen=True, slots=True)
class Function:
    """A name that was given to a deployment."""

    name: str
    current: int
    """The number of the deployment that answers to it."""
    previous: int | None = None
    """That of the one before, to go back to."""


@dataclass(frozen=True, slots=True)
class InstalledService:
    """An image that is installed as a service."""

    name: str
    image: bytes
    """SHA-256 of its image."""
    source: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """An enclave that the host starts again after its own restart."""

    number: int
    """The host's: never given again."""
    name: str
    image: bytes
    """SHA-256 of its image."""
    wanted: Wanted
    tee: Tee
    launcher: str = ""
    """The name of the access token that it was launched with, where that is not an administrator's."""
    owner: bytes | None = None
    """The Ed25519 public key that its identity is made of, if it has one."""


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image's two files."""

    sgxs: bytes
    sigstruct: bytes


class Catalogue:
    """The catalogue in ``path``, made if it is missing.

    Args:
        path: its file.
        passing: it need not outlive the computer, only this process: nothing waits for the disk.

    Raises:
        CatalogueError: it is damaged, of a newer version, or cannot be written; so does every method.
    """

    def __init__(self, path: Path, *, passing: bool = False) -> None:
        self._path = path
        with self._typed():
            check_database(path)
            # Written by one worker thread and opened by another: the owner sees to it that they take turns.
            self._rows = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._rows.execute(f"PRAGMA synchronous = {'OFF' if passing else 'FULL'}")
            self._rows.execute("PRAGMA foreign_keys = ON")
            self._rows.execute("PRAGMA temp_store = MEMORY")  # no folder for temporary files is left to this process
            self._rows.execute("PRAGMA cache_size = -512")  # KiB: rows are few, and images are not worth caching
            (version,) = self._rows.execute("PRAGMA user_version").fetchone()
            if version in _UPGRADES:
                script = f"BEGIN IMMEDIATE; {_UPGRADES[version]} PRAGMA user_version = {VERSION}; COMMIT;"
                self._rows.executescript(script)
        if version > VERSION:
            raise CatalogueError(
                f"{path} has version {version}, this Casemate knows {VERSION}: run the newer one, or restore a backup"
            )

    def close(self) -> None:
        """Lets go of the file."""
        self._rows.close()

    def put(self, about: ImageIs, files: ImageBytes, keeper: str = "") -> ImageIs:
        """Keeps an image until it is removed; one that is there already keeps its name, and its first keeper."""
        with self._transaction():
            self._put(about, files, keeper, kept=True)
            self._rows.execute("UPDATE image SET kept = 1 WHERE image = ?", (about.image,))
            return self._about(about.image) or about

    def images(self, keeper: str | None = None) -> tuple[ImageIs, ...]:
        """All that are here, oldest first; or those of one keeper."""
        with self._typed():
            rows = self._rows.execute(
                f"SELECT {_ABOUT} FROM image WHERE ?1 IS NULL OR keeper = ?1 ORDER BY rowid",  # noqa: S608 - a constant
                (keeper,),
            ).fetchall()
        return tuple(map(_image, rows))

    def image(self, image: bytes) -> ImageIs | None:
        """The description of an image; None if it is not stored."""
        with self._typed():
            return self._about(image)

    def files(self, image: bytes) -> ImageBytes | None:
        """An image's bytes."""
        with self._typed():
            row = self._rows.execute("SELECT sgxs, sigstruct FROM image WHERE image = ?", (image,)).fetchone()
        return None if row is None else ImageBytes(*row)

    def remove(self, image: bytes) -> bool:
        """Forgets an image: at once, or as soon as its last deployment is; False if there is no such image."""
        with self._transaction():
            found = self._rows.execute("UPDATE image SET kept = 0 WHERE image = ?", (image,)).rowcount > 0
            self._sweep(image)
        return found

    def deployments(self) -> tuple[Deployment, ...]:
        """All, by number."""
        with self._typed():
            rows = self._rows.execute(
                "SELECT number, name, image, wanted, tee, launcher, owner FROM deployment ORDER BY number"
            ).fetchall()
        return tuple(
            Deployment(number, name, image, Wanted(wanted), Tee(tee), launcher, owner)
            for number, name, image, wanted, tee, launcher, owner in rows
        )

    def draw_number(self) -> int:
        """A number for a deployment; it is never drawn again."""
        with self._transaction():
            self._rows.execute("UPDATE given SET number = number + 1")
            (number,) = self._rows.execute("SELECT number FROM given").fetchone()
        return int(number)

    def deploy(self, deployment: Deployment, about: ImageIs, files: ImageBytes) -> None:
        """Adds a deployment under a number drawn for it, with its image."""
        with self._transaction():
            self._put(about, files, deployment.launcher, kept=False)
            self._rows.execute(
                "INSERT INTO deployment (number, name, image, wanted, tee, launcher, owner) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(deployment.number, deployment.name, deployment.image),
                    *(deployment.wanted, deployment.tee, deployment.launcher, deployment.owner),
                ),
            )

    def want(self, number: int, wanted: Wanted) -> None:
        """Sets the state that deployment ``number`` is meant to have."""
        with self._transaction():
            self._rows.execute("UPDATE deployment SET wanted = ? WHERE number = ?", (wanted, number))

    def forget(self, number: int) -> None:
        """Removes a deployment, the name that it answers to, and its image if nobody keeps that."""
        with self._transaction():
            row = self._rows.execute("SELECT image FROM deployment WHERE number = ?", (number,)).fetchone()
            if row is not None:
                self._rows.execute("DELETE FROM function WHERE current = ?", (number,))
                self._rows.execute("UPDATE function SET previous = NULL WHERE previous = ?", (number,))
                self._rows.execute("DELETE FROM binding WHERE number = ?", (number,))
                self._rows.execute("DELETE FROM deployment WHERE number = ?", (number,))
                self._sweep(row[0])

    def functions(self) -> tuple[Function, ...]:
        """All names that were given, in their order."""
        with self._typed():
            rows = self._rows.execute("SELECT name, current, previous FROM function ORDER BY name").fetchall()
        return tuple(Function(*row) for row in rows)

    def switch(self, function: Function) -> None:
        """Gives a name to its current deployment, which should run from now on; the previous one should be stopped.

        The current one uses what the previous one uses, where it was not bound otherwise.

        Both or neither: after a crash in the middle, exactly one of them answers to the name.
        """
        with self._transaction():
            self._rows.execute(
                "INSERT OR REPLACE INTO function (name, current, previous) VALUES (?, ?, ?)",
                (function.name, function.current, function.previous),
            )
            self._rows.execute(
                "INSERT OR IGNORE INTO binding SELECT ?, alias, target FROM binding WHERE number = ?",
                (function.current, function.previous),
            )
            for number, wanted in ((function.current, Wanted.RUNNING), (function.previous, Wanted.STOPPED)):
                self._rows.execute("UPDATE deployment SET wanted = ? WHERE number = ?", (wanted, number))

    def services(self) -> tuple[InstalledService, ...]:
        """All that are installed, in the order of their names."""
        with self._typed():
            rows = self._rows.execute("SELECT name, image, source FROM service ORDER BY name").fetchall()
        return tuple(InstalledService(*row) for row in rows)

    def install(self, service: InstalledService, about: ImageIs, files: ImageBytes) -> None:
        """Keeps an image as a service, in the place of another one's image."""
        with self._transaction():
            self._put(about, files, "", kept=False)
            row = self._rows.execute("SELECT image FROM service WHERE name = ?", (service.name,)).fetchone()
            self._rows.execute(
                "INSERT OR REPLACE INTO service (name, image, source) VALUES (?, ?, ?)",
                (service.name, service.image, service.source),
            )
            if row is not None:
                self._sweep(row[0])

    def uninstall(self, name: str) -> None:
        """Forgets a service, and its image if nobody else needs that."""
        with self._transaction():
            row = self._rows.execute("SELECT image FROM service WHERE name = ?", (name,)).fetchone()
            self._rows.execute("DELETE FROM service WHERE name = ?", (name,))
            if row is not None:
                self._sweep(row[0])

    def bindings(self) -> tuple[tuple[int, str, str], ...]:
        """All bindings: a deployment's number, an alias that it uses, and what that is bound to."""
        with self._typed():
            rows = self._rows.execute("SELECT number, alias, target FROM binding").fetchall()
        return tuple((int(number), str(alias), str(target)) for number, alias, target in rows)

    def bind(self, number: int, alias: str, target: str) -> None:
        """Binds an alias of a deployment; an empty target ends the binding."""
        with self._transaction():
            self._rows.execute("DELETE FROM binding WHERE number = ? AND alias = ?", (number, alias))
            if target:  # nothing is written for a deployment that was destroyed meanwhile
                self._rows.execute(
                    "INSERT INTO binding SELECT number, ?, ? FROM deployment WHERE number = ?", (alias, target, number)
                )

    def _put(self, about: ImageIs, files: ImageBytes, keeper: str, *, kept: bool) -> None:
        columns = (
            *(about.image, about.name, about.size, about.mr_enclave, about.mr_signer),
            *(about.isv_prod_id, about.isv_svn, about.debug, kept, files.sgxs, files.sigstruct, keeper),
        )
        self._rows.execute(
            f"INSERT OR IGNORE INTO image ({_ABOUT}, kept, sgxs, sigstruct, keeper) "  # noqa: S608 - constants
            f"VALUES ({', '.join('?' * len(columns))})",
            columns,
        )

    def _about(self, image: bytes) -> ImageIs | None:
        row = self._rows.execute(f"SELECT {_ABOUT} FROM image WHERE image = ?", (image,)).fetchone()  # noqa: S608 - a constant
        return None if row is None else _image(row)

    def _sweep(self, image: bytes) -> None:
        self._rows.execute(
            "DELETE FROM image WHERE image = ? AND NOT kept "
            "AND NOT EXISTS (SELECT 1 FROM deployment WHERE deployment.image = image.image) "
            "AND NOT EXISTS (SELECT 1 FROM service WHERE service.image = image.image)",
            (image,),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._typed():
            self._rows.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._rows.in_transaction:  # on some faults, a full disk among them, SQLite has rolled back itself
                    self._rows.execute("ROLLBACK")
                raise
            self._rows.execute("COMMIT")

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except NoPlainFileError as error:
            raise CatalogueError(str(error)) from None
        except sqlite3.Error as error:
            raise CatalogueError(f"{self._path}: {error}") from None


def _image(row: tuple[bytes, str, int, bytes, bytes, int, int, int]) -> ImageIs:
    image, name, size, mr_enclave, mr_signer, isv_prod_id, isv_svn, debug = row
    return ImageIs(image, name, size, mr_enclave, mr_signer, isv_prod_id, isv_svn, bool(debug))
