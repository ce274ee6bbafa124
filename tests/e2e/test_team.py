"""One committed image in a team of two interpreters: built under both, it is the same, and both run it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.rigs.environments import environment_of, other_interpreters
from tests.rigs.missing import missing

pytestmark = pytest.mark.machine

TIME = 180.0


class Member(NamedTuple):
    """A computer of the team: an interpreter, and a home of its own."""

    python: Path
    home: Path

    def casemate(self, *words: object, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "-I", "-m", "casemate", *map(str, words)]
        environment = {
            "HOME": str(self.home),
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "SOURCE_DATE_EPOCH": "1760000000",
        }
        return subprocess.run(
            command,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=TIME,
            check=False,
            cwd=self.home,
        )

    def said(self, *words: object, given: str = "") -> Any:
        done = self.casemate(*words, "--json", given=given)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Each with a machine that runs."""
    other = next(other_interpreters(), None)
    if other is None:
        missing(f"no second build of Python 3.{sys.version_info.minor} on this computer")
    folder = tmp_path_factory.mktemp("team")
    python = environment_of(folder / "other", other, "machine")
    homes = [folder / "mine", folder / "theirs"]
    for home in homes:
        home.mkdir()
    members = Member(Path(sys.executable), homes[0]), Member(python, homes[1])
    try:
        for member in members:
            member.said("up", "--no-gateway", "--detach")
        yield members
    finally:
        for member in members:
            member.said("down", "--now")


@pytest.mark.parametrize("engine", ["javascript", "python"])
def test_a_committed_image_is_the_same_and_runs_under_both_interpreters(
    team: tuple[Member, Member], engine: str
) -> None:
    mine, theirs = team
    folder = mine.home / engine / "rating"
    mine.said("init", "--engine", engine, folder)
    mine.said("build", folder)
    refused = theirs.casemate("build", folder, "--json")
    error = json.loads(refused.stdout)["error"]
    assert (refused.returncode, error["kind"]) == (5, "StaleLockError")
    assert "`casemate lock add DIR`" in error["next"]
    assert theirs.casemate("lock", "check", folder).returncode == 1

    told = json.dumps(theirs.said("lock", "show"))
    assert mine.said("lock", "add", folder, "--from", "-", given=told)["changed"] is True
    committed = mine.said("build", folder)["mr_enclave"]
    image = (folder / "rating.sgxs").read_bytes()

    for member in (theirs, mine):
        member.said("lock", "check", folder, folder / "rating.sgxs")
        assert member.said("build", folder)["mr_enclave"] == committed
        assert (folder / "rating.sgxs").read_bytes() == image
        ran = member.said("run", folder / "rating.sgxs", "--input", folder / "input.json")
        assert ran["evidence"]["mr_enclave"] == committed
        assert ran["result"]["verdict"] == "strong"
    locked = mine.said("lock", "show", folder)["locks"][0]["records"]
    assert {record["component"] for record in locked} == {"core", engine}


def test_each_tells_the_others_core_without_having_its_interpreter(team: tuple[Member, Member]) -> None:
    """Where both are common interpreters, as those of CI are: the table that comes along names them truly."""
    cores = {member: member.said("lock", "show")["runtime"]["parts"]["core"] for member in team}
    for member, other in (team, team[::-1]):
        folder = member.home / "common"
        member.said("init", folder)
        member.said("lock", "add", folder, "--common")
        accepted = {
            record["digest"]
            for record in member.said("lock", "show", folder)["locks"][0]["records"]
            if record["component"] == "core"
        }
        if cores[other] not in accepted:
            missing(f"{other.python} is not among the common interpreters")
