"""The entry point of the package's command."""

import sys


def main() -> None:
    """Runs `casemate` with the arguments of this process."""
    if sys.argv[1:] in (["--version"], ["-V"]):  # scripts ask this often, and importing Typer takes most of the time
        from importlib.metadata import version

        sys.stdout.write(f"casemate {version('casemate')}\n")
        return
    from casemate.cli.app import app

    app(prog_name="casemate")
