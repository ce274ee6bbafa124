"""``python -I -m casemate.supervisor``: one machine in the foreground, until SIGTERM, SIGINT or the lifeline's end.

On its standard output it prints one line: ``{"ready": true}`` or ``{"error": "..."}``.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from casemate.link.places import control_socket, host_directory, listen
from casemate.supervisor.control import Control
from casemate.supervisor.machine import Machine
from casemate.supervisor.options import MachineOptions
from casemate.wire.errors import CasemateError


def main() -> int:
    """Runs the machine; 0 when it was told to end, 1 when it could not start or one of its processes died."""
    parser = argparse.ArgumentParser(prog="casemate.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--seed")
    parser.add_argument("--layer", action="append", default=[], metavar="NAME=MODE")
    parser.add_argument("--pool", type=int, default=1)
    parser.add_argument("--lifeline-fd", type=int, help="a pipe: the machine ends when its other end closes")
    given = parser.parse_args()
    options = MachineOptions(given.state.absolute(), given.seed, tuple(given.layer), given.pool)
    try:
        return asyncio.run(_run(options, given.lifeline_fd))
    except CasemateError as error:
        _say({"error": str(error)})
        return 1
    except OSError as error:
        _say({"error": f"{error.filename or options.state}: {error.strerror}"})
        return 1


async def _run(options: MachineOptions, lifeline: int | None) -> int:
    for folder in (options.state, host_directory(options.state)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = _told_to_end(lifeline)
    machine = Machine(options)
    try:
        starting = asyncio.create_task(machine.start())
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return 0
        await starting
        with listen(control_socket(options.state)) as listener:
            control = asyncio.create_task(Control(machine).door(listener).run())
            _say({"ready": True})
            refreshing = asyncio.create_task(machine.keep_collateral_fresh())
            died = asyncio.create_task(machine.died())
            ends: set[asyncio.Future[Any]] = {told, died, control}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            control.cancel()
            refreshing.cancel()
            if died.done():
                print(f"casemate: {died.result()}", file=sys.stderr)
                return 1
            died.cancel()
            return 0
    finally:
        await machine.end()


def _told_to_end(lifeline: int | None) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not told.done():
            told.set_result(None)
        if lifeline is not None:
            loop.remove_reader(lifeline)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    if lifeline is not None:
        os.set_blocking(lifeline, False)
        loop.add_reader(lifeline, tell)
    return told


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
