"""`casemate doctor`: what this computer offers, and what it lacks."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.options import Json, State
from casemate.cli.output import Screen, printable, table
from casemate.wire.errors import os_error_text

if TYPE_CHECKING:
    from rich.console import Console

LINUX_LAYERS = ("rlimits", "no-new-privs", "landlock", "seccomp", "watchdog")
"""Layers that every user of an ordinary Linux has; the others need root or a kernel with more enabled."""

OTHER_LAYERS = ("rlimits", "watchdog")
"""Layers that every platform has."""

PROBE_TIMEOUT = 60.0
"""Longest trial of the sandbox (seconds)."""

_OLDEST_PYTHON = (3, 11)

_PROBE = """
import json
from casemate.sandbox.probe import probe
print(json.dumps([[layer.name, layer.state, layer.detail] for layer in probe()]))
"""
"""Tried in a process of its own: this room does not import the sandbox, and the trial forks."""

_LAYERS_TRIAL = "the trial of the layers"

_LIMITS_PROBE = """
import json
from casemate.sandbox.rlimits import low_limits
print(json.dumps(low_limits()))
"""

_ENGINE_PROBE = """
import json, subprocess, sys
from casemate.engines.javascript.engine import JavaScript
from casemate.spawner.guest_process import first_words
from casemate.sandbox.rlimits import low_limits
command = JavaScript().command(sys.argv[1], memory_mib=64)
tried = subprocess.run(
    command.arguments, env=command.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=50
)
reasons = [] if tried.stdout else [first_words(tried.stderr) or f"exit status {tried.returncode}", low_limits()]
print(json.dumps("; ".join(filter(None, reasons))))
"""
"""Starts the engine by the code that starts guests, in a process of its own."""

_VM_PROBE = """
import contextlib, json, sys
from casemate.wire.errors import MissingExtraError, importing
complaint = ""
try:
    with importing("vm", sys.argv[1]), contextlib.redirect_stdout(sys.stderr):
        import keystone, unicorn
except MissingExtraError as error:
    complaint = str(error)
print(json.dumps(complaint))
"""
"""Loads the packages in a process of its own: they bring libraries, which may be damaged."""

Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="LAYER",
        help="A sandbox layer that must be there. May be given several times. "
        "Default on Linux: rlimits, no-new-privs, landlock, seccomp, watchdog; elsewhere: rlimits, watchdog.",
    ),
]


class Finding(StrEnum):
    """The result of one examination."""

    GOOD = "good"
    LACKING = "lacking"
    """Not available, and not required."""
    MISSING = "missing"
    """Required, and not available."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that was looked at."""

    name: str
    finding: Finding
    detail: str


def doctor(*, require: Require = None, state: State = None, as_json: Json = False) -> None:
    """Say what this computer offers: sandbox layers, engine, libraries, users.

    Exit code 0 where everything required is there, 1 otherwise. Layers that
    are not required are used where they are available.
    """
    from casemate.wire.protocol.sandbox_layers import LayerName

    for name in require or ():
        if name not in LayerName.__members__.values():
            raise typer.BadParameter(f"{name!r} is none of {', '.join(LayerName)}", param_hint="--require")
    wanted = frozenset(require or (LINUX_LAYERS if sys.platform == "linux" else OTHER_LAYERS))
    found = tuple(_examine(wanted, state))
    healthy = all(each.finding is not Finding.MISSING for each in found)
    Screen(as_json=as_json).show(
        {
            "healthy": healthy,
            "platform": {"system": sys.platform, "machine": platform.machine(), "release": platform.release()},
            "required_layers": sorted(wanted),
            "findings": [{"name": each.name, "finding": str(each.finding), "detail": each.detail} for each in found],
        },
        lambda console: _show(console, found, healthy=healthy),
    )
    if not healthy:
        raise typer.Exit(ExitCode.FAILED)


def _examine(wanted: frozenset[str], state: Path | None) -> Iterator[Examined]:
    yield _python()
    yield Examined("system", Finding.GOOD, f"{sys.platform} {platform.machine()}, release {platform.release()}")
    machine = _extra("machine", "building images and running a machine", absent=Finding.MISSING)
    yield machine
    if machine.finding is Finding.GOOD:
        yield _tried("runtime copy", _runtime)
        yield _tried("engine", _engine)
    yield _tried("limits", _limits)
    yield _vm("running confidential VMs")
    yield _seccomp_library()
    yield from _layers(wanted)
    yield _user()
    yield _state(state)
    yield _clock(state, datetime.now(UTC))
    yield from _ocalls(state)


def _ocalls(given: Path | None) -> Iterator[Examined]:
    """Whether the operator's own OCALL handlers run, where a machine runs that was started with some."""
    from casemate.cli.own_machine import state_directory
    from casemate.client.local import running_machine
    from casemate.wire.errors import CasemateError

    try:
        status = running_machine(state_directory(given)).status
    except (CasemateError, OSError):
        return
    if not status.ocalls_module:
        return
    said = f"{status.ocalls_module} answers {', '.join(status.ocalls)}"
    if not status.pid("handlers"):
        yield Examined("ocalls", Finding.LACKING, f"{said}; it is being started anew, and ocalls.log tells why")
        return
    yield Examined("ocalls", Finding.GOOD, said)


def _clock(given: Path | None, now: datetime) -> Examined:
    """Whether the clock can be right, judged by the certificates and the audit log in the state directory."""
    from casemate.cli.own_machine import state_directory
    from casemate.process.audit_log import NAME, last_entry_at
    from casemate.process.places import host_directory
    from casemate.process.plain_file import read_plain
    from casemate.wire.encodings.json_object import parse_object
    from casemate.wire.encodings.pem import parse_chain
    from casemate.wire.encodings.x509_dates import Validity, validity_of
    from casemate.wire.errors import WireError
    from casemate.wire.protocol.clock import clock_doubt

    place = state_directory(given)
    certificates: dict[str, Validity] = {}
    last_seen = last_entry_at(place / NAME)
    try:
        told = parse_object("machine.json", read_plain(host_directory(place) / "machine.json", 1 << 20), limit=1 << 20)
        (root,) = parse_chain("root_certificate", told.text("root_certificate").encode())
        certificates["the maker's root certificate"] = validity_of(root.der)
    except (OSError, WireError, ValueError):
        pass  # there is no machine yet, or its files do not tell
    doubt = clock_doubt(now, certificates, last_seen)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    return Examined("clock", Finding.LACKING if doubt else Finding.GOOD, doubt or said)


def _tried(name: str, look: Callable[[], str]) -> Examined:
    """A finding for something required: good, or missing with the error as its reason."""
    from casemate.wire.errors import CasemateError

    try:
        return Examined(name, Finding.GOOD, look())
    except (CasemateError, OSError) as error:
        return Examined(name, Finding.MISSING, str(error))


def _python() -> Examined:
    version = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON or platform.python_implementation() != "CPython":
        return Examined("python", Finding.MISSING, f"{version}; want CPython 3.11 or newer")
    return Examined("python", Finding.GOOD, version)


def _extra(name: str, what: str, *, absent: Finding) -> Examined:
    """Whether an optional part of Casemate is installed."""
    from casemate.process.extras import MODULES, check_extra
    from casemate.wire.errors import MissingExtraError

    try:
        check_extra(name, what)
    except MissingExtraError as error:
        return Examined(f"extra {name}", absent, str(error))
    return Examined(f"extra {name}", Finding.GOOD, f"{what}: {', '.join(MODULES[name])}")


def _vm(what: str) -> Examined:
    """Whether the packages that confidential VMs need are installed, and load."""
    from casemate.cli.images import RuntimeDigestError

    found = _extra("vm", what, absent=Finding.LACKING)
    if found.finding is not Finding.GOOD:
        return found
    try:
        complaint = str(_answer("loading the packages of the extra vm", _VM_PROBE, what))
    except RuntimeDigestError as error:
        complaint = str(error)
    return Examined(found.name, Finding.LACKING, complaint) if complaint else found


def _runtime() -> str:
    from casemate.cli.images import runtime

    here = runtime()
    parts = ", ".join(f"{part.component} {part.digest.hex()}" for part in here.parts)
    return f"{here.platform}: {parts}; kept in {here.copy}"


def _engine() -> str:
    """Where the Deno binary is, once it has been started on trial."""
    from importlib import metadata

    from casemate.process.extras import engine_binary

    path = engine_binary("the engine of JavaScript")
    _start_engine(path)
    return f"deno {metadata.version('deno')}, {path}; it starts"


def _start_engine(binary: Path) -> None:
    """Starts the engine as a guest would be started, but unconfined and without a program, so that it ends at once."""
    from casemate.cli.images import RuntimeDigestError

    complaint = str(_answer(f"the start of {binary}", _ENGINE_PROBE, str(binary)))
    if complaint:
        raise RuntimeDigestError(f"{binary} does not start: {complaint}")


def _limits() -> str:
    """The resource limits of this process, with which a machine that is started here would have to do."""
    from casemate.cli.images import RuntimeDigestError

    low = str(_answer("the look at the limits", _LIMITS_PROBE))
    if low:
        raise RuntimeDigestError(low)
    return "enough descriptors, processes, memory and bytes in a file"


def _answer(what: str, probe: str, *arguments: str) -> object:
    """Runs a probe in a new process; returns the JSON that it prints.

    Raises:
        RuntimeDigestError: it prints none.
    """
    import json
    import subprocess

    from casemate.cli.images import RuntimeDigestError

    command = [sys.executable, "-I", "-c", probe, *arguments]
    try:
        tried = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT, check=True
        )
        said: object = json.loads(tried.stdout)
    except subprocess.TimeoutExpired:
        raise RuntimeDigestError(f"{what} took more than {PROBE_TIMEOUT:g} s") from None
    except subprocess.CalledProcessError as error:
        last_line = " ".join(error.stderr.decode(errors="replace").strip().splitlines()[-1:])
        raise RuntimeDigestError(f"{what} failed: {last_line[:1000]}") from None
    except ValueError:
        raise RuntimeDigestError(f"{what} gave no answer") from None
    return said


def _seccomp_library() -> Examined:
    """Whether libseccomp can be loaded. It is not required here: the layer ``seccomp`` may be."""
    import ctypes

    if sys.platform != "linux":
        return Examined("libseccomp", Finding.LACKING, "Linux alone has seccomp")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        return Examined("libseccomp", Finding.LACKING, f"{error}; Debian and Ubuntu: apt install libseccomp2")
    return Examined("libseccomp", Finding.GOOD, "libseccomp.so.2")


def _layers(wanted: frozenset[str]) -> Iterator[Examined]:
    """A finding for each sandbox layer, tried on a child process."""
    from casemate.cli.images import RuntimeDigestError

    try:
        layers = [tuple(map(str, layer)) for layer in cast("list[list[object]]", _answer(_LAYERS_TRIAL, _PROBE))]
        found = [(name, state, detail) for name, state, detail in layers]
    except RuntimeDigestError as error:
        yield Examined("sandbox", Finding.MISSING, str(error))
        return
    except (ValueError, TypeError):
        yield Examined("sandbox", Finding.MISSING, f"{_LAYERS_TRIAL} gave no answer")
        return
    for name, state, detail in found:
        lacking = Finding.MISSING if name in wanted else Finding.LACKING
        yield Examined(f"layer {name}", Finding.GOOD if state == "applied" else lacking, f"{state} {detail}".strip())


def _user() -> Examined:
    if os.geteuid() == 0:
        return Examined(
            "user",
            Finding.GOOD,
            "root: each enclave and guest gets a user id of its own; chip, vendor and host share yours",
        )
    return Examined(
        "user",
        Finding.LACKING,
        f"uid {os.geteuid()}: enclaves run as you, so every other process of yours could read their memory",
    )


def _state(given: Path | None) -> Examined:
    """Whether the state directory, which holds a machine's secrets, is this user's alone."""
    from casemate.cli.own_machine import state_directory
    from casemate.process.ownership import PlaceError, check_own_folder, check_way

    place = state_directory(given)
    try:
        check_way(place)
        if not os.path.lexists(place):
            return Examined("state", Finding.GOOD, f"{place}: not there yet, will be made with mode 0700")
        check_own_folder(place, private=True)
    except PlaceError as error:
        return Examined("state", Finding.MISSING, str(error))
    except OSError as error:
        return Examined("state", Finding.MISSING, f"{place}: {os_error_text(error)}")
    return Examined("state", Finding.GOOD, f"{place}: of uid {os.geteuid()} alone, and so is the way to it")


def _show(console: "Console", found: tuple[Examined, ...], *, healthy: bool) -> None:
    styles = {Finding.GOOD: "green", Finding.LACKING: "yellow", Finding.MISSING: "bold red"}
    rows = table("", "what", "detail")
    from rich.text import Text

    for each in found:
        rows.add_row(Text(str(each.finding), style=styles[each.finding]), each.name, printable(each.detail))
    console.print(rows)
    if healthy:
        console.print("everything that is required is there", style="bold green")
    else:
        console.print("something that is required is missing", style="bold red")
