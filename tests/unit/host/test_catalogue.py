import sqlite3
from pathlib import Path

import pytest
from tests.rigs.host.fake_chip import sigstruct

from casemate.host.catalogue import (
    Catalogue,
    CatalogueError,
    Deployment,
    Function,
    ImageBytes,
    InstalledService,
    Wanted,
)
from casemate.host.image_store import describe
from casemate.wire.protocol.tee import Tee

FILES = ImageBytes(b"stream", sigstruct(b"stream"))
ABOUT = describe("first", FILES)
OTHER_FILES = ImageBytes(b"other", sigstruct(b"other"))
OTHER = describe("second", OTHER_FILES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


def deployment(catalogue: Catalogue, launcher: str = "", owner: bytes | None = None) -> Deployment:
    made = Deployment(catalogue.draw_number(), "one", ABOUT.image, Wanted.RUNNING, Tee.SNP, launcher, owner)
    catalogue.deploy(made, ABOUT, FILES)
    return made


def test_what_is_written_is_there_again(path: Path) -> None:
    catalogue = Catalogue(path)
    catalogue.put(OTHER, OTHER_FILES)
    made = deployment(catalogue, "ci", b"o" * 32)
    catalogue.want(made.number, Wanted.STOPPED)
    catalogue.close()
    again = Catalogue(path)
    assert again.images() == (OTHER, ABOUT)
    assert again.files(ABOUT.image) == FILES
    assert again.deployments() == (Deployment(1, "one", ABOUT.image, Wanted.STOPPED, Tee.SNP, "ci", b"o" * 32),)


def test_catalogue_of_version_1_is_taken_over(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.close()
    with sqlite3.connect(path) as rows:
        rows.executescript(
            "ALTER TABLE deployment DROP COLUMN launcher; ALTER TABLE deployment DROP COLUMN owner;"
            "ALTER TABLE image DROP COLUMN keeper;"
            "DROP TABLE function; DROP TABLE binding; DROP TABLE service; PRAGMA user_version = 1;"
        )
    for _ in range(2):
        catalogue = Catalogue(path)
        assert catalogue.deployments() == (made,)
        catalogue.close()


def test_catalogue_of_version_2_is_taken_over(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.close()
    with sqlite3.connect(path) as rows:
        rows.executescript(
            "ALTER TABLE deployment DROP COLUMN owner; DROP TABLE function; DROP TABLE binding;"
            "DROP TABLE service; PRAGMA user_version = 2;"
        )
    catalogue = Catalogue(path)
    assert catalogue.functions() == ()
    catalogue.switch(Function("one", made.number))
    catalogue.close()
    assert Catalogue(path).functions() == (Function("one", made.number),)


def test_catalogue_of_version_3_is_taken_over(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.close()
    with sqlite3.connect(path) as rows:
        rows.executescript(
            "ALTER TABLE deployment DROP COLUMN owner; DROP TABLE binding; DROP TABLE service; PRAGMA user_version = 3;"
        )
    catalogue = Catalogue(path)
    catalogue.bind(made.number, "billing", "7")
    catalogue.close()
    assert Catalogue(path).bindings() == ((made.number, "billing", "7"),)


def test_catalogue_of_version_4_is_taken_over(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.close()
    with sqlite3.connect(path) as rows:
        rows.executescript("ALTER TABLE deployment DROP COLUMN owner; DROP TABLE service; PRAGMA user_version = 4;")
    catalogue = Catalogue(path)
    owned = deployment(catalogue, owner=b"o" * 32)
    catalogue.close()
    assert Catalogue(path).deployments() == (made, owned)


def test_catalogue_of_version_5_is_taken_over(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.close()
    with sqlite3.connect(path) as rows:
        rows.executescript("DROP TABLE service; PRAGMA user_version = 5;")
    catalogue = Catalogue(path)
    catalogue.install(InstalledService("one", OTHER.image, "a folder"), OTHER, OTHER_FILES)
    catalogue.close()
    again = Catalogue(path)
    assert again.deployments() == (made,)
    assert again.services() == (InstalledService("one", OTHER.image, "a folder"),)


def test_an_image_stays_as_long_as_a_service_needs_it(path: Path) -> None:
    catalogue = Catalogue(path)
    catalogue.install(InstalledService("one", ABOUT.image, ""), ABOUT, FILES)
    made = deployment(catalogue)
    catalogue.forget(made.number)
    assert not catalogue.remove(bytes(32))
    assert catalogue.remove(ABOUT.image)
    assert catalogue.files(ABOUT.image) == FILES
    catalogue.install(InstalledService("one", OTHER.image, ""), OTHER, OTHER_FILES)
    assert catalogue.images() == (OTHER,)
    catalogue.uninstall("one")
    catalogue.uninstall("one")
    assert catalogue.images() == ()
    assert catalogue.services() == ()


def test_bindings_go_with_their_deployment(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    catalogue.bind(made.number, "billing", "7")
    catalogue.bind(99, "billing", "7")
    assert catalogue.bindings() == ((made.number, "billing", "7"),)
    catalogue.forget(made.number)
    assert catalogue.bindings() == ()


def test_a_switch_changes_the_name_and_both_deployments_or_nothing(path: Path) -> None:
    catalogue = Catalogue(path)
    old, new = deployment(catalogue), deployment(catalogue)
    catalogue.switch(Function("one", old.number))
    with pytest.raises(CatalogueError, match="FOREIGN KEY"):
        catalogue.switch(Function("one", 99, old.number))
    assert catalogue.functions() == (Function("one", old.number),)
    catalogue.switch(Function("one", new.number, old.number))
    catalogue.close()
    again = Catalogue(path)
    assert again.functions() == (Function("one", new.number, old.number),)
    assert [each.wanted for each in again.deployments()] == [Wanted.STOPPED, Wanted.RUNNING]


def test_a_name_goes_with_its_deployment(path: Path) -> None:
    catalogue = Catalogue(path)
    old, new = deployment(catalogue), deployment(catalogue)
    catalogue.switch(Function("one", new.number, old.number))
    catalogue.forget(old.number)
    assert catalogue.functions() == (Function("one", new.number, None),)
    catalogue.forget(new.number)
    assert catalogue.functions() == ()


def test_numbers_are_never_given_again(path: Path) -> None:
    catalogue = Catalogue(path)
    first = deployment(catalogue).number
    second = catalogue.draw_number()
    catalogue.forget(first)
    catalogue.close()
    assert Catalogue(path).draw_number() == second + 1


def test_an_image_goes_with_its_last_deployment_unless_it_is_kept(path: Path) -> None:
    catalogue = Catalogue(path)
    one, two = deployment(catalogue), deployment(catalogue)
    catalogue.forget(one.number)
    assert catalogue.image(ABOUT.image) == ABOUT
    catalogue.forget(two.number)
    assert catalogue.image(ABOUT.image) is None
    catalogue.put(ABOUT, FILES)
    catalogue.forget(deployment(catalogue).number)
    assert catalogue.image(ABOUT.image) == ABOUT


def test_an_image_that_is_needed_is_removed_later(path: Path) -> None:
    catalogue = Catalogue(path)
    catalogue.put(ABOUT, FILES)
    made = deployment(catalogue)
    assert catalogue.remove(ABOUT.image)
    assert catalogue.files(ABOUT.image) == FILES
    catalogue.forget(made.number)
    assert catalogue.files(ABOUT.image) is None
    assert not catalogue.remove(ABOUT.image)


def test_the_same_bytes_are_one_image_under_its_first_name(path: Path) -> None:
    catalogue = Catalogue(path)
    assert catalogue.put(ABOUT, FILES).name == "first"
    assert catalogue.put(describe("renamed", FILES), FILES).name == "first"
    assert len(catalogue.images()) == 1


def test_a_damaged_file_and_one_of_a_newer_version_are_refused(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(CatalogueError, match="not a database"):
        Catalogue(path)
    path.unlink()
    with sqlite3.connect(path) as rows:
        rows.execute("PRAGMA user_version = 9")
    with pytest.raises(CatalogueError, match="version 9, this Casemate knows 6"):
        Catalogue(path)


def test_a_full_disk_changes_nothing(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    pages = catalogue._rows.execute("PRAGMA page_count").fetchone()[0]
    catalogue._rows.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CatalogueError, match="full"):
        catalogue.put(OTHER, ImageBytes(bytes(1 << 20), OTHER_FILES.sigstruct))
    assert catalogue.images() == (ABOUT,)
    assert catalogue.deployments() == (made,)


def test_a_full_disk_is_called_that_and_leaves_the_catalogue_as_it_was(path: Path) -> None:
    catalogue = Catalogue(path)
    made = deployment(catalogue)
    (pages,) = catalogue._rows.execute("PRAGMA page_count").fetchone()
    catalogue._rows.execute(f"PRAGMA max_page_count = {pages}")
    large = ImageBytes(bytes(1 << 20), sigstruct(bytes(1 << 20)))
    for _ in range(2):
        with pytest.raises(CatalogueError, match="database or disk is full"):
            catalogue.put(describe("large", large), large)
    catalogue._rows.execute("PRAGMA max_page_count = 1000000")
    catalogue.put(describe("large", large), large)
    assert catalogue.deployments() == (made,)
