import os
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import run_child

from casemate.sandbox import cgroup
from casemate.sandbox.cgroup import Group, Places, find_places, remove_stale
from casemate.sandbox.confinement import NoGroup
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.probe import find_group

MOUNTS_1 = """\
30 23 0:26 / {root}/cpu rw,relatime - cgroup cgroup rw,cpu
31 23 0:27 / {root}/memory rw,relatime - cgroup cgroup rw,memory
32 23 0:28 /outer {root}/pids rw,relatime shared:9 - cgroup cgroup rw,pids
33 23 0:29 / {root}/unified rw,relatime - cgroup2 cgroup2 rw
"""
MOUNTS_2 = "33 23 0:29 / {root} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


class FakeProc:
    """/proc files of a made-up process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, own: str, mounts: str) -> None:
        files = {"/proc/self/cgroup": own, "/proc/self/mountinfo": mounts}
        real = Path.read_text
        monkeypatch.setattr(
            Path, "read_text", lambda self, *rest, **named: files.get(str(self)) or real(self, *rest, **named)
        )


def test_version_1_has_a_folder_for_each_controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory" / "own").mkdir(parents=True)
    (tmp_path / "pids" / "inner").mkdir(parents=True)
    FakeProc(monkeypatch, "4:memory:/own\n8:pids:/outer/inner\n0::/\n", MOUNTS_1.format(root=tmp_path))
    assert find_places() == Places(1, tmp_path / "memory" / "own", tmp_path / "pids" / "inner")


def test_version_2_passes_its_controllers_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (own / "cgroup.subtree_control").write_text("")
    FakeProc(monkeypatch, "0::/own\n", MOUNTS_2.format(root=tmp_path))
    assert find_places() == Places(2, own, own)
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_version_2_without_the_controllers_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "cgroup.controllers").write_text("hugetlb\n")
    FakeProc(monkeypatch, "0::/own\n", MOUNTS_2.format(root=tmp_path))
    with pytest.raises(UnavailableError, match="memory and pids controllers are not in this control group"):
        find_places()


def test_a_tree_that_is_not_mounted_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeProc(monkeypatch, "0::/own\n", "1 1 0:1 / / rw - ext4 disk rw\n")
    with pytest.raises(UnavailableError, match="cgroup2  is not mounted"):
        find_places()


@pytest.mark.parametrize(("version", "memory_file"), [(1, "memory.limit_in_bytes"), (2, "memory.max")])
def test_a_group_is_made_limited_and_entered(tmp_path: Path, version: int, memory_file: str) -> None:
    memory, pids = tmp_path / "m", tmp_path / ("p" if version == 1 else "m")
    memory.mkdir()
    pids.mkdir(exist_ok=True)
    group = Group(Places(version, memory, pids), "one")
    group.make()
    group.limit(memory=1000, threads=5)
    assert group.enter() == f"version {version}: memory, pids"
    assert (memory / "one" / memory_file).read_text() == "1000"
    assert (pids / "one" / "pids.max").read_text() == "5"
    assert (pids / "one" / "cgroup.procs").read_text() == str(os.getpid())


@pytest.mark.parametrize(("events", "wanted"), [("oom_kill 0", False), ("oom 1\noom_kill 2", True), ("", False)])
def test_running_out_of_memory_is_seen(tmp_path: Path, events: str, wanted: bool) -> None:
    group = Group(Places(2, tmp_path, tmp_path), "one")
    group.make()
    (tmp_path / "one" / "memory.events").write_text(events)
    assert group.was_out_of_memory() is wanted


def test_a_group_that_is_gone_did_not_run_out_of_memory(tmp_path: Path) -> None:
    assert not Group(Places(2, tmp_path, tmp_path), "none").was_out_of_memory()


def test_a_group_in_use_is_removed_later(tmp_path: Path) -> None:
    group = Group(Places(2, tmp_path, tmp_path), "one")
    group.make()
    (tmp_path / "one" / "busy").touch()
    assert not group.remove()
    (tmp_path / "one" / "busy").unlink()
    assert group.remove()


def test_groups_of_dead_parents_are_removed(tmp_path: Path) -> None:
    for name in (f"x-{os.getpid()}-1", "x-99999999-1", "x-none-1", "other"):
        (tmp_path / name).mkdir()
    remove_stale(Places(2, tmp_path, tmp_path), "x-")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(("other", f"x-{os.getpid()}-1", "x-none-1"))


def test_limits_that_cannot_be_set_leave_no_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from casemate.sandbox import probe

    monkeypatch.setattr(probe, "find_places", lambda: Places(2, tmp_path, tmp_path))
    monkeypatch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no")))
    group = find_group("one", memory=5)
    assert group == NoGroup("limits of a control group: no")
    assert not (tmp_path / "one").exists()


def test_memory_beyond_the_ceiling_kills() -> None:
    group = find_group(f"casemate-{os.getpid()}-test", memory=32 * 1024 * 1024, threads=4)
    if isinstance(group, NoGroup):
        pytest.skip(group.reason)

    def body() -> str:
        group.enter()
        return str(len(bytearray(200_000_000).replace(b"\0", b"x")))

    try:
        ended = run_child(body)
        assert ended.signal is not None
        assert group.was_out_of_memory()
    finally:
        removed = group.remove()
    assert removed
    assert cgroup._CONTROLLERS == ("memory", "pids")
