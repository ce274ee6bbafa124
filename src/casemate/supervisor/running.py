"""Runs one machine, until SIGTERM, SIGINT, its owner's word or the lifeline's end.

On its standard output it prints one line: ``{"ready": true}`` or ``{"error": "..."}``, with the error's class as
``"kind"`` and, where processes were started, the path of the ``"log"`` that tells more. A second line,
``{"kept": true}``, comes where the lifeline's end leaves the machine to others who use it. SIGTERM, SIGINT and SIGHUP
drain it: nobody new is let in, and calls under way may finish. A second one, and the lifeline's end, end it at once.
"""

import argparse
import asyncio
import contextlib
import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from casemate.process.audit_log import NAME as AUDIT_LOG
from casemate.process.audit_log import log_act
from casemate.process.memory import give_back_memory
from casemate.process.ownership import PlaceError, check_own_folder, make_own_folder
from casemate.process.places import host_directory, leave_places, listen_for_owner
from casemate.process.plain_file import check_plain
from casemate.supervisor.control import Control
from casemate.supervisor.inventory import accept_losses, check_complete
from casemate.supervisor.listeners import Listeners
from casemate.supervisor.lock import StateLock, lock_state
from casemate.supervisor.machine import Machine
from casemate.supervisor.machine_log import MachineLog
from casemate.supervisor.options import DEFAULT_ADDRESS, HttpOptions, MachineOptions
from casemate.supervisor.shutdown import ShutdownRequests
from casemate.wire.errors import CasemateError, os_error_text

LEFT = "the last machine on this state ended without a word: its supervisor was killed, or the power failed"


def main() -> int:
    """Runs the machine; 0 when it was told to end, 1 when it could not start or its processes died too often."""
    given = _parser().parse_args()
    options = _options(given)
    try:
        return asyncio.run(_run(options, given.lifeline_fd))
    except (CasemateError, OSError) as error:
        return _fail(error, options.state, log=False)
    finally:
        if given.remove_state:
            import shutil

            shutil.rmtree(options.state, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="casemate.supervisor", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--seed")
    parser.add_argument("--layer", action="append", default=[], metavar="NAME=MODE")
    parser.add_argument("--pool", type=int, default=1)
    parser.add_argument("--snp", action="append", default=[], metavar="ARGUMENT", help="passed to the chip as it is")
    parser.add_argument("--lasting", action="store_true", help="keep deployments in the state directory")
    parser.add_argument("--token-digest", metavar="HEX", help="a gateway, and SHA-256 of this run's token")
    parser.add_argument("--bind", default=DEFAULT_ADDRESS, metavar="ADDRESS", help="where the gateway listens")
    parser.add_argument("--port", type=int, help="default: the first free one from 8800 on")
    parser.add_argument("--scheme", default="http", choices=("http", "https"))
    parser.add_argument(
        "--gateway", action="append", default=[], metavar="ARGUMENT", help="passed to the gateway as it is"
    )
    parser.add_argument("--ocalls", type=Path, metavar="FILE", help="the operator's module of OCALL handlers")
    parser.add_argument("--accept-loss", metavar="REASON", help="begin anew with what this machine has lost")
    parser.add_argument("--lifeline-fd", type=int, help="a pipe: the machine ends when its other end closes")
    parser.add_argument(
        "--while-used", action="store_true", help="after the lifeline's end, go on as long as somebody uses the machine"
    )
    parser.add_argument("--remove-state", action="store_true", help="remove the state directory at the end")
    return parser


def _options(given: argparse.Namespace) -> MachineOptions:
    digest: str | None = given.token_digest
    return MachineOptions(
        state=given.state.absolute(),
        seed=given.seed,
        layers=tuple(given.layer),
        pool=given.pool,
        lasting=given.lasting,
        while_used=given.while_used,
        snp=tuple(given.snp),
        accept_loss=given.accept_loss,
        ocalls=None if given.ocalls is None else given.ocalls.absolute(),
        http=None
        if digest is None
        else HttpOptions(given.bind, given.port, bytes.fromhex(digest), given.scheme, tuple(given.gateway)),
    )


async def _run(options: MachineOptions, lifeline: int | None) -> int:
    """Checks who owns the state directory, and takes the port, before it makes anything."""
    shutdown = ShutdownRequests(lifeline, while_used=options.while_used, on_kept=lambda: _say({"kept": True}))
    with contextlib.ExitStack() as stack:
        lock = _locked(options.state)
        listeners = Listeners(options.http)
        stack.callback(listeners.close)
        if lock is None:
            make_own_folder(options.state)
            lock = lock_state(options.state)
        stack.callback(lock.give_back)
        make_own_folder(host_directory(options.state))
        check_plain(options.state / AUDIT_LOG)
        log = MachineLog(options.state / "machine.log")
        stack.callback(log.close)
        if lock.was_left:
            log.say(LEFT)
        machine = Machine(options, listeners, log, LEFT if lock.was_left else "")
        try:
            if options.accept_loss is not None:
                accept_losses(options.state, options.accept_loss)
            check_complete(options.state)
            return await _start_and_run(machine, log, shutdown)
        except (CasemateError, OSError) as error:
            return _fail(error, options.state, log=True)
        finally:
            await _end(machine, shutdown)
            leave_places(options.state)


async def _start_and_run(machine: Machine, log: MachineLog, shutdown: ShutdownRequests) -> int:
    ending = asyncio.create_task(shutdown.end.wait())
    starting = asyncio.create_task(machine.start())
    await _first({starting, ending})
    if not starting.done():
        starting.cancel()
        return 0
    await starting
    return await _until_told(machine, log, shutdown, ending)


def _locked(state: Path) -> StateLock | None:
    """The lock of an existing state directory; None if there is none. Nothing is made if it is another user's."""
    if not os.path.lexists(state):
        return None
    check_own_folder(state)
    return lock_state(state)


async def _until_told(
    machine: Machine, log: MachineLog, shutdown: ShutdownRequests, ending: "asyncio.Task[Any]"
) -> int:
    with listen_for_owner(machine.options.state) as listener:
        control = asyncio.create_task(Control(machine, shutdown).server(listener).run())
        log_act(machine.options.state, "up", f"supervisor, {machine.url or 'no gateway'}")
        log.say(f"the machine runs{f' at {machine.url}' if machine.url else ''}", aloud=False)
        _say({"ready": True})
        give_back_memory()
        refreshing = asyncio.create_task(machine.keep_collateral_fresh())
        keeping = asyncio.create_task(machine.keep_running())
        await _first({ending, keeping, control})
        for task in (control, refreshing):
            task.cancel()
        if keeping.done():
            log.say(f"the machine ends: {keeping.result()}")
            shutdown.request(at_once=True)
            return 1
        keeping.cancel()
        log_act(machine.options.state, "down", "told to end")
        log.say("the machine was told to end", aloud=False)
        return 0


async def _end(machine: Machine, shutdown: ShutdownRequests) -> None:
    """Ends the processes: draining them, until a second request ends them at once."""
    if not shutdown.at_once.is_set():
        draining = asyncio.create_task(machine.end(at_once=False))
        hurrying = asyncio.create_task(shutdown.at_once.wait())
        await _first({draining, hurrying})
        hurrying.cancel()
        if draining.done():
            return await draining
        draining.cancel()
    await machine.end(at_once=True)
    return None


async def _first(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def _fail(error: CasemateError | OSError, state: Path, *, log: bool) -> int:
    """Says why there is no machine, and whether its log can tell more; the exit status."""
    why = _why(error, state) if isinstance(error, OSError) else str(error)
    if isinstance(error, PlaceError):
        why += "; or name another state directory with --state"
    _say({"error": why, "kind": type(error).__name__, "log": str(state / "machine.log") if log else None})
    return 1


def _why(error: OSError, state: Path) -> str:
    where = f"{error.filename or state}: {os_error_text(error)}"
    if error.errno == errno.ENAMETOOLONG:
        return f"{where}; name a shorter state directory with --state"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{where}; name a state directory with --state that you may write to"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{where}; make room there, or name another state directory with --state"
    return where


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
