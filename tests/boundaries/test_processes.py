"""Every process loads what the table in docs/architecture.md allows its room, and nothing else of ours.

Each entry point is run as it is started, as far as it gets with arguments that are wrong, so what counts is what a
process has loaded and not what a module imports at its top. The spawner gets as far as it ever does.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import casemate
from casemate.link.channel import Channel
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.spawner import Configure, SpawnerReady
from casemate.wire.messages.zygote import BaseReady, PrepareBase

PACKAGE = Path(casemate.__path__[0])
BASE = frozenset({"wire", "process", "link"})
COMMAND_LINE = frozenset({"typer", "rich", "click"})
FRAMEWORKS = COMMAND_LINE | {"pydantic", "fastapi", "starlette", "uvicorn", "prometheus_client"}
NOT_IN_ENCLAVE = FRAMEWORKS | {"asyncio", "tree_sitter", "deno", "http", "urllib.request"}


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a process may have loaded."""

    rooms: frozenset[str]
    frameworks: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()


ENTRY_POINTS = {
    "casemate.chip": Allowed(BASE | {"chip"}),
    "casemate.chip.second_stage": Allowed(BASE | {"chip"}, arguments=("{}",)),
    "casemate.makers": Allowed(BASE | {"makers"}),
    "casemate.supervisor": Allowed(BASE | {"supervisor"}),
    "casemate.ocalls": Allowed(BASE | {"ocalls", "images"}),
    "casemate.host": Allowed(BASE | {"host", "sandbox"}),
    "casemate.gateway": Allowed(BASE | {"gateway", "host", "sandbox"}, FRAMEWORKS - COMMAND_LINE),
    "casemate.vm": Allowed(BASE | {"vm", "sandbox"}),
    "casemate.zygote": Allowed(BASE | {"zygote", "engines", "sandbox", "guest"}),
    "casemate.spawner": Allowed(BASE | {"spawner", "enclave", "engines", "images", "sandbox"}),
    "casemate": Allowed(BASE | {"cli", "client", "verifier", "images", "__main__"}, COMMAND_LINE, ("--help",)),
    "casemate.cli.foreground": Allowed(frozenset({"cli"})),
    "casemate.testing.hostile": Allowed(
        BASE | {"testing", "client", "verifier", "images", "host", "vm", "chip", "makers", "sandbox", "cli"},
        COMMAND_LINE,
        ("--help",),
    ),
}
LIBRARIES = {
    "casemate.client": Allowed(BASE | {"client", "verifier", "images"}),
    "casemate.verifier": Allowed(frozenset({"verifier", "wire"})),
}

START = """
import atexit, json, os, runpy, sys
out, control, module, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
if control >= 0:
    os.dup2(control, 3)
atexit.register(lambda: os.write(out, json.dumps(sorted(sys.modules)).encode()))
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
IMPORT = "import json, os, sys, {module}; os.write(int(sys.argv[1]), json.dumps(sorted(sys.modules)).encode())"


def loaded_by(program: str, *arguments: str, control: int = -1) -> set[str]:
    """What a process has loaded when it ends."""
    reading, writing = os.pipe()
    kept = (writing,) if control < 0 else (writing, control)
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program, str(writing), *arguments],
        pass_fds=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        said = report.read()
    process.wait()
    return set(json.loads(said))


@cache
def loaded_by_starting(module: str) -> frozenset[str]:
    arguments = ENTRY_POINTS[module].arguments
    if module == "casemate.zygote":
        return loaded_by_the_base()
    if module != "casemate.spawner":
        return frozenset(loaded_by(START, "-1", module, *arguments))
    ours, theirs = socket.socketpair()
    control = Channel(ours)
    control.send(encode_message(Configure((), sys.executable, sys.executable, 0)), timeout=10)

    def chip() -> None:
        assert parse_message(control.receive(timeout=60).payload, SpawnerReady) == SpawnerReady()
        ours.shutdown(socket.SHUT_RDWR)

    playing = threading.Thread(target=chip)
    playing.start()
    with ours, theirs:
        found = loaded_by(START, str(theirs.fileno()), module, control=theirs.fileno())
        playing.join()
    return frozenset(found)


def loaded_by_the_base() -> frozenset[str]:
    """What the base of Python guests has loaded once it is ready and confined."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(encode_message(PrepareBase(())))

    def spawner() -> None:
        assert parse_message(ours.recv(1 << 14), BaseReady) == BaseReady("")
        ours.shutdown(socket.SHUT_RDWR)

    playing = threading.Thread(target=spawner)
    playing.start()
    with ours, theirs:
        found = loaded_by(START, str(theirs.fileno()), "casemate.zygote", control=theirs.fileno())
        playing.join()
    return frozenset(found)


def rooms_of(loaded: frozenset[str] | set[str]) -> set[str]:
    return {name.split(".")[1] for name in loaded if name.startswith("casemate.")}


def frameworks_of(loaded: frozenset[str] | set[str]) -> set[str]:
    return {name.split(".")[0] for name in loaded} & FRAMEWORKS


def test_no_entry_point_is_left_out() -> None:
    there = {".".join(("casemate", *file.relative_to(PACKAGE).parent.parts)) for file in PACKAGE.rglob("__main__.py")}
    there |= {
        ".".join(("casemate", *file.relative_to(PACKAGE).with_suffix("").parts))
        for file in PACKAGE.rglob("*.py")
        if file.name != "__main__.py" and 'if __name__ == "__main__"' in file.read_text()
    }
    # A demonstration, which plays every room; and a file that loads nothing of Casemate's at all: see below.
    assert there == {*ENTRY_POINTS, "casemate.testing.demo", "casemate.cli.snp.page_hasher"}


def test_the_hasher_of_pages_needs_the_standard_library_alone() -> None:
    text = (PACKAGE / "cli/snp/page_hasher.py").read_text()
    imported = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"hashlib", "os", "sys"}


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_a_process_loads_its_own_room_and_those_it_may(module: str) -> None:
    loaded, allowed = loaded_by_starting(module), ENTRY_POINTS[module]
    own = module.partition(".")[2].partition(".")[0] or "cli"
    assert own in rooms_of(loaded)
    assert rooms_of(loaded) <= allowed.rooms
    assert frameworks_of(loaded) <= allowed.frameworks


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_library_loads_its_own_room_and_those_it_may(module: str) -> None:
    loaded = loaded_by(IMPORT.format(module=module))
    assert rooms_of(loaded) <= LIBRARIES[module].rooms
    assert not frameworks_of(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers")
def test_what_python_guests_are_copied_from_has_no_keys_and_no_runtime_of_enclaves() -> None:
    loaded = loaded_by_starting("casemate.zygote")
    assert {"casemate.engines.python.bootstrap.serving", "decimal", "asyncio"} < loaded
    assert not [name for name in loaded if name.startswith(("casemate.enclave", "casemate.spawner", "casemate.chip"))]


def test_the_enclave_runtime_is_lean() -> None:
    loaded = loaded_by_starting("casemate.spawner")
    assert {"casemate.enclave.main", "casemate.enclave.rehearsal"} < loaded
    assert not loaded & NOT_IN_ENCLAVE
    assert not [name for name in loaded if name.startswith(("OpenSSL", "h11", "casemate.enclave.tls.desk"))]
    # The Python engine's part of the runtime, which the lock of another engine's image does not name.
    of_guests = ("casemate.engines.python.bootstrap", "casemate.guest", "casemate.zygote")
    assert not [name for name in loaded if name.startswith(of_guests)]


@pytest.mark.parametrize("module", ["casemate.host", "casemate.gateway"])
def test_the_host_cannot_compute_with_keys(module: str) -> None:
    assert not [name for name in loaded_by_starting(module) if name.startswith("cryptography")]


def test_the_root_package_loads_nothing() -> None:
    assert rooms_of(loaded_by(IMPORT.format(module="casemate"))) == set()
