"""``python -m bench [--quick] [--json] [--real-time] [--only SECTION]...``; exits with 0 even if targets are missed."""

import argparse
import os
import sys
import time
from collections.abc import Callable

from bench.calls import calls
from bench.figures import Row
from bench.gateway import http
from bench.lab import FULL, QUICK, Lab, lab, say
from bench.launch import launches
from bench.memory import memory
from bench.pages import pages
from bench.quotes import quotes
from bench.report import Conditions, as_json, print_table
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
    "launch": launches,
    "call": calls,
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


def main() -> int:
    """Runs the sections in order and prints the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures against named baselines, in one run.")
    parser.add_argument("--quick", action="store_true", help="a few rounds: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--real-time", action="store_true", help="as root: no other program gets in between (SCHED_RR)")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    options = parser.parse_args()
    if options.real_time:
        os.sched_setscheduler(
            0, os.SCHED_RR, os.sched_param(1)
        )  # inherited by all processes that are started from here
    began, load = time.monotonic(), os.getloadavg()[0]
    rows: list[Row] = []
    with lab(QUICK if options.quick else FULL) as made:
        for name, section in SECTIONS.items():
            if options.only is None or name in options.only:
                say(f"measuring: {name}")
                rows += section(made)
    conditions = Conditions(options.quick, options.real_time, time.monotonic() - began, load, os.getloadavg()[0])
    if options.json:
        print(as_json(rows, conditions))
    else:
        print_table(rows, conditions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
