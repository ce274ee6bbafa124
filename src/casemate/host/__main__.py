"""``python -I -m casemate.host``: started by the supervisor with the chip's link and a listening socket inherited."""

import argparse
import sys

from casemate.host.serving import add_arguments, host_options, prepare, serve
from casemate.sandbox.host import telling_of_links


def main() -> int:
    """Serves the Unix socket until SIGTERM, or until the chip or the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="casemate.host")
    add_arguments(parser)
    return serve(prepare(host_options(parser.parse_args())))


if __name__ == "__main__":
    with telling_of_links("the host"):
        sys.exit(main())
