import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import Run, run_child

from casemate.sandbox import confinement as module
from casemate.sandbox.confinement import (
    NoGroup,
    apply_layer,
    confine,
    modes_of,
    prepare_enclave,
)
from casemate.sandbox.errors import LayerRequiredError, UnavailableError
from casemate.sandbox.host import confine_host, telling_of_links
from casemate.sandbox.probe import probe
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest, LayerState

NAME = LayerName.LANDLOCK
ALL_OFF = tuple(LayerRequest(name, LayerMode.OFF) for name in LayerName)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


def missing() -> str:
    raise UnavailableError("the kernel is too old")


def test_an_applied_layer_has_its_detail() -> None:
    assert apply_layer(NAME, LayerMode.PREFER, lambda: "ABI 7") == Layer(NAME, LayerState.APPLIED, "ABI 7")


def test_a_long_detail_is_cut_to_what_the_format_carries() -> None:
    assert len(apply_layer(NAME, LayerMode.PREFER, lambda: "ä" * 300).detail.encode()) <= 256


def test_a_preferred_layer_that_is_missing_is_reported() -> None:
    layer = apply_layer(NAME, LayerMode.PREFER, missing)
    assert layer == Layer(NAME, LayerState.UNAVAILABLE, "the kernel is too old")


def test_a_required_layer_that_is_missing_is_refused() -> None:
    with pytest.raises(LayerRequiredError, match=r"layer landlock is required.*the kernel is too old"):
        apply_layer(NAME, LayerMode.REQUIRE, missing)


def test_a_layer_that_is_off_is_not_touched() -> None:
    assert apply_layer(NAME, LayerMode.OFF, missing) == Layer(NAME, LayerState.OFF, "")


def test_layers_not_named_are_preferred_and_the_last_word_counts() -> None:
    requests = (LayerRequest(NAME, LayerMode.OFF), LayerRequest(NAME, LayerMode.REQUIRE))
    modes = modes_of(requests)
    assert modes[NAME] is LayerMode.REQUIRE
    assert {mode for name, mode in modes.items() if name is not NAME} == {LayerMode.PREFER}


def test_every_layer_is_reported_in_order(child: Run) -> None:
    prepared = prepare_enclave()
    parent = os.getpid()

    def body() -> str:
        return " ".join(layer.name for layer in confine(prepared, (), parent=parent, group=NoGroup("none")))

    assert child(body).said == " ".join(LayerName)


def test_all_layers_can_be_off() -> None:
    prepared = prepare_enclave()
    parent = os.getpid()

    def body() -> str:
        layers = confine(prepared, ALL_OFF, parent=parent, group=NoGroup("none"))
        return f"{ {layer.state.value for layer in layers} } {len(Path('/etc/passwd').read_bytes()) > 0}"

    assert run_child(body).said == "{'off'} True"


def test_a_required_control_group_that_cannot_be_is_refused() -> None:
    prepared = prepare_enclave()
    parent = os.getpid()
    requests = (LayerRequest(LayerName.CGROUP, LayerMode.REQUIRE),)

    def body() -> object:
        return confine(prepared, requests, parent=parent, group=NoGroup("no controllers"))

    assert run_child(body).said.startswith("LayerRequiredError: layer cgroup is required")


@linux_only
def test_a_probe_reports_all_layers_and_applies_none_to_the_caller() -> None:
    layers = probe()
    assert [layer.name for layer in layers] == list(LayerName)
    assert all(layer.state is LayerState.APPLIED or layer.detail for layer in layers)
    assert Path("/etc/passwd").read_bytes()


def test_elsewhere_each_layer_is_missing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from casemate.sandbox import cgroup, linux, seccomp

    for cached in (linux._libc, seccomp._library, seccomp.compile_filter):
        cached.cache_clear()
    monkeypatch.setattr(linux, "IS_LINUX", False)
    monkeypatch.setattr(module, "set_limits", lambda *_, **__: "none")
    monkeypatch.setattr(module, "take_own_uid", missing)
    requests = tuple(LayerRequest(name, LayerMode.PREFER) for name in LayerName)
    layers = confine(prepare_enclave(), requests, parent=os.getppid(), group=NoGroup("none"))
    unavailable = {layer.name for layer in layers if layer.state is LayerState.UNAVAILABLE}
    assert unavailable == set(LayerName) - {LayerName.RLIMITS, LayerName.WATCHDOG}
    with pytest.raises(UnavailableError):
        cgroup.find_places()
    for cached in (linux._libc, seccomp._library, seccomp.compile_filter):
        cached.cache_clear()


@linux_only
def test_a_host_reaches_what_it_was_given_and_nothing_else(child: Run, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            folder.chmod(0o755)
    for name in ("mine", "fuses"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "file").write_text(name)

    def body() -> str:
        layers = confine_host(read=(), write=(tmp_path / "mine",))
        if any(layer.state is not LayerState.APPLIED for layer in layers):
            return "unavailable"
        (tmp_path / "mine" / "new").write_text("x")
        got = []
        try:
            (tmp_path / "mine" / "link").symlink_to(tmp_path / "fuses")
            got.append("link")
        except PermissionError:
            pass
        for path in (tmp_path / "fuses" / "file", Path("/etc/shadow"), Path(f"/proc/{os.getppid()}/environ")):
            try:
                path.read_bytes()
                got.append(path.name)
            except PermissionError:
                continue
        return f"wrote, and read {got}"

    said = child(body).said
    if said == "unavailable":
        pytest.skip("this kernel has no Landlock")
    assert said == "wrote, and read []"


@linux_only
def test_a_host_reaches_packages_that_are_linked_whole_and_tells_of_other_links(child: Run, tmp_path: Path) -> None:
    """As uv, Nix and Conda link them into an environment."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            folder.chmod(0o755)
    packages, store, state = tmp_path / "packages", tmp_path / "store", tmp_path / "state"
    for folder in (packages / "filewise", store / "whole", state / "mine"):
        folder.mkdir(parents=True)
    for name in ("whole/module.py", "module.py"):
        (store / name).write_text("there")
    (state / "fuses").write_text("secret")
    (packages / "whole").symlink_to(store / "whole")
    (packages / "filewise" / "module.py").symlink_to(store / "module.py")
    (packages / "everything").symlink_to(tmp_path)  # holds what the host is given, and much that it is not

    def body() -> str:
        sys.path.insert(0, str(packages))
        layers = confine_host(read=(), write=(state / "mine",))
        if any(layer.state is not LayerState.APPLIED for layer in layers):
            return "unavailable"
        found = [(packages / "whole" / "module.py").read_text()]
        try:
            with telling_of_links("the host"):
                (packages / "filewise" / "module.py").read_text()
        except SystemExit as told:
            found.append(str(told))
        with pytest.raises(PermissionError):
            (state / "fuses").read_text()
        with pytest.raises(PermissionError), telling_of_links("the host"):
            (state / "fuses").read_text()
        return "\n".join(found)

    said = child(body).said
    if said == "unavailable":
        pytest.skip("this kernel has no Landlock")
    whole, told = said.split("\n")
    assert whole == "there"
    assert told.startswith(f"the host cannot read {packages}/filewise/module.py, which leads to {store}/module.py: ")
    assert "install them as files" in told


@linux_only
def test_a_host_can_keep_records(child: Run, tmp_path: Path) -> None:
    """SQLite's locks, its shared memory and its synchronous writes; a database that is there, and a new one."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            folder.chmod(0o755)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o777)

    def body() -> str:
        layers = confine_host(read=(), write=(tmp_path / "mine",))
        if any(layer.state is not LayerState.APPLIED for layer in layers):
            return "unavailable"
        found = []
        for _ in range(2):
            thread = threading.Thread(target=lambda: found.append(_keep(tmp_path / "mine" / "records.db")))
            thread.start()
            thread.join()
        return str(found)

    said = child(body).said
    if said == "unavailable":
        pytest.skip("this kernel has no Landlock")
    assert said == "[('wal', 2000), ('wal', 4000)]"


def _keep(path: Path) -> tuple[str, int]:
    database = sqlite3.connect(path)
    (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS kept (bytes BLOB)")
        database.executemany("INSERT INTO kept VALUES (?)", [(bytes(4096),)] * 2000)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (count,) = database.execute("SELECT count(*) FROM kept").fetchone()
    database.close()
    return mode, count
