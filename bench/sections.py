"""The benchmark's sections, in the order in which they run and are shown."""

from collections.abc import Callable, Collection

from bench.callers import callers
from bench.calls import calls
from bench.commands import commands
from bench.figures import Row
from bench.gateway import http
from bench.lab import Lab, say
from bench.launch import launches
from bench.memory import memory
from bench.neighbours import neighbours
from bench.pages import pages
from bench.python import python
from bench.quotes import quotes
from bench.services import services
from bench.signing import signing
from bench.snp import snp
from bench.start import start
from bench.state import state
from bench.streams import streams
from bench.up import up
from bench.verification import verification
from bench.vms import vms

SECTIONS: dict[str, Callable[[Lab], list[Row]]] = {
    "memory": memory,  # first, while no other machine runs
    "up": up,
    "command": commands,
    "launch": launches,
    "call": calls,
    "callers": callers,
    "python": python,
    "neighbours": neighbours,
    "service": services,
    "http": http,
    "state": state,
    "stream": streams,
    "quote": quotes,
    "verify": verification,
    "sign": signing,
    "measure": pages,
    "snp": snp,
    "vm": vms,
    "start": start,
}


def measured(lab: Lab, names: Collection[str]) -> list[Row]:
    """The rows of the named sections, in the order of all sections."""
    rows: list[Row] = []
    for name, section in SECTIONS.items():
        if name in names:
            say(f"measuring: {name}")
            rows += section(lab)
    return rows
