"""``python -m bench [--quick] [--json] [--real-time] [--only SECTION]...``; exits with 0 even if targets are missed."""

import argparse
import os
import sys
import time

from bench.lab import FULL, QUICK, lab
from bench.report import Conditions, as_json, print_table
from bench.sections import SECTIONS, measured


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
    with lab(QUICK if options.quick else FULL) as made:
        rows = measured(made, options.only or SECTIONS)
    conditions = Conditions(options.quick, options.real_time, time.monotonic() - began, load, os.getloadavg()[0])
    if options.json:
        print(as_json(rows, conditions))
    else:
        print_table(rows, conditions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
