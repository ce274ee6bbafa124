"""`make quick`: tests of what has changed since the branch left main, the nearest first, until the time is up.

Near means: few imports away. A test file that imports a changed module comes before one that imports a module which
imports it, and so on, up through the rooms. Tests that start a whole machine run where they have changed themselves;
beside them one call on a whole machine is made, and one VM is launched where code of VMs has changed.
"""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 75.0
"""What is under way then ends, which takes a few seconds more."""
LEVELS = ("tests/unit/", "tests/channel/")
JOURNEY = "tests/e2e/test_journey.py::test_a_call_gives_the_result_and_a_receipt_that_holds_offline"
VM = "tests/e2e/test_vm_deaths.py::test_what_is_destroyed_has_no_process"
PAGES = "tests/docs/test_documents.py"
STORIES = f"{PAGES}::test_what_a_page_has_its_reader_type_does_what_the_page_shows"
Imports = Mapping[str, frozenset[str]]
"""Of each module, the modules that it imports itself."""


def choose(changed: Iterable[str], imports: Imports) -> list[str]:
    """Which tests can tell of a change of these paths, the nearest first: files, and tests on a whole machine.

    ``imports`` has the package's modules and the tests'.
    """
    paths = sorted(changed)
    modules = {name for path in paths if (name := _module_of(path, imports))}
    away = _distances(modules, imports)
    own = tuple(f"tests/unit/{name.split('.')[1]}/" for name in modules if name.startswith("casemate."))
    for name in imports:
        if _path_of(name).startswith(own):
            away.setdefault(name, 1)  # it starts the room's process, and imports nothing of it
    near = sorted(
        (distance, not path.startswith(own), path)  # of those as near, the tests of the changed rooms come first
        for path, distance in ((_path_of(name), distance) for name, distance in away.items())
        if _is_test(path) and path.startswith(LEVELS)
    )
    found = [path for path in paths if _is_test(path)]
    if any(name.startswith("casemate") for name in modules):
        found.append(JOURNEY)
    if any({"vm", "snp"} & set(name.split(".")) for name in modules):
        found.append(VM)
    if any(path.endswith(".md") for path in paths):
        found.append(PAGES)
    return list(dict.fromkeys([*found, *(path for _, _, path in near)]))


def _module_of(path: str, imports: Imports) -> str | None:
    """Of a file of the package that is no module, the package around it; None for what nothing can import."""
    place = PurePosixPath(path.removeprefix("src/"))
    if place.parts[0] not in ("casemate", "tests"):
        return None
    name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
    while name and name not in imports:
        name = name.rpartition(".")[0]
    return name or None


def _path_of(name: str) -> str:
    return f"{name.replace('.', '/')}.py"


def _is_test(path: str) -> bool:
    return path.startswith("tests/") and PurePosixPath(path).match("test_*.py")


def _distances(modules: Iterable[str], imports: Imports) -> dict[str, int]:
    """How many imports away each module is that a change can be felt in; the changed ones themselves are 0 away."""
    importers: dict[str, list[str]] = {}
    for name, imported in imports.items():
        for each in imported:
            importers.setdefault(each, []).append(name)
    away = dict.fromkeys(modules, 0)
    edge = list(away)
    while edge:
        further = [(name, away[each] + 1) for each in edge for name in importers.get(each, ()) if name not in away]
        away |= dict(further)
        edge = [name for name, _ in dict(further).items()]
    return away


def imports_of_all() -> Imports:
    """Of the package by grimp, and of tests by their text."""
    graph = grimp.build_graph("casemate", cache_dir=None)
    found = {name: frozenset(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name] = frozenset(_imported(ast.parse(path.read_text())))
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of modules, and of what may be one: `from a import b` imports `a`, and `a.b` if that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def changed_files() -> list[str]:
    """Committed since the branch left main, or not yet; of files that are gone, nothing."""
    base = next((found for ref in ("main", "origin/main") if (found := _git("merge-base", "HEAD", ref))), ["HEAD"])
    names = {*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")}
    return [name for name in names if (ROOT / name).is_file()]


def _git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607 - of the path
    return done.stdout.splitlines() if done.returncode == 0 else []


class Budget:
    """Ends a run when its time is up."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed
        if time.monotonic() > self._until:
            pytest.exit("the time is up: tests that are farther away were not run", returncode=int(self._failed))


def main() -> int:
    """The exit status: 0 where no test failed."""
    os.chdir(ROOT)
    chosen = choose(changed_files(), imports_of_all())
    if not chosen:
        print("nothing has changed that a test could tell of")
        return 0
    print(f"tests that can tell of what has changed: {len(chosen)}; the nearest come first, for {SECONDS:g} s")
    os.environ["HYPOTHESIS_PROFILE"] = "quick"
    arguments = ["-q", "-n", str(os.cpu_count() or 1), "--dist", "load", "--maxschedchunk", "4", "-m", "not alone"]
    return int(pytest.main([*arguments, "--deselect", STORIES, *chosen], plugins=[Budget(SECONDS)]))


if __name__ == "__main__":
    sys.exit(main())
