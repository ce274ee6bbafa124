"""``python -I -m casemate.makers``: see the package's docstring."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from casemate.makers.amd import commands as amd
from casemate.makers.intel import commands
from casemate.makers.requests import Command
from casemate.makers.store import check_ownership
from casemate.process.hardening import keep_secrets_in
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.snp.tcb import Product


def main() -> int:
    """Runs one command; 0 if it was done, 1 if it was refused."""
    keep_secrets_in()
    arguments = _parser().parse_args()
    now = arguments.now or datetime.now(UTC).replace(microsecond=0)
    run: Command = arguments.run
    try:
        check_ownership(arguments.state)
        answer = run(arguments.state, arguments, now, sys.stdin.buffer)
    except (CasemateError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(answer + b"\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="casemate.makers", description="The simulated maker.", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True, help="the machine's state directory")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    _word(words, "init", commands.init).add_argument("--seed", help="a public seed: everything is the same every time")
    _word(words, "issue-pck", commands.certify)
    _word(words, "collateral", commands.collateral).add_argument("--ca", help="processor or platform")
    _word(words, "newest-tcb", commands.newest_tcb)
    _word(words, "renew", commands.renew)
    for name, run in (("recover-tcb", commands.recover_tcb), ("recover-qe", commands.recover_qe)):
        _word(words, name, run).add_argument("--advisory", required=True, help="such as SIM-SA-00006")
    which = _word(words, "revoke", commands.revoke_certificates).add_mutually_exclusive_group(required=True)
    which.add_argument("--ppid", help="all certificates of a chip")
    which.add_argument("--serial", help="one PCK certificate")
    which.add_argument("--ca", help="an intermediate CA: processor or platform")
    _amd_words(words)
    return parser


def _amd_words(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _word(words, "issue-vcek", amd.certify_vcek)
    _word(words, "issue-vlek", amd.give_vlek)
    _word(words, "newest-firmware", amd.newest_firmware)
    for name, run in (
        ("amd-root", amd.amd_root),
        ("amd-crl", amd.amd_crl),
        ("recover-firmware", amd.recover_firmware),
        ("revoke-amd", amd.revoke_amd),
    ):
        word = _word(words, name, run)
        word.add_argument("--product", type=_product, required=True, help="Milan, Genoa or Turin")
        if run is amd.recover_firmware:
            word.add_argument("--advisory", required=True, help="such as SIM-SB-00001")
        if run is amd.revoke_amd:
            which = word.add_mutually_exclusive_group(required=True)
            which.add_argument("--hw-id", help="all VCEKs of a chip")
            which.add_argument("--csp-id", help="all VLEKs of a cloud provider")
            which.add_argument("--serial", help="one VCEK or VLEK certificate")
            which.add_argument("--issuer", help="an intermediate CA: ask or asvk")


def _word(
    words: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command
) -> argparse.ArgumentParser:
    parser = words.add_parser(name, help=(run.__doc__ or "").strip(), allow_abbrev=False)
    parser.add_argument("--now", type=_moment, help="the time, such as 2026-01-31T12:00:00Z")
    parser.set_defaults(run=run)
    return parser


def _product(text: str) -> Product:
    try:
        return amd.parse_product(text)
    except WireError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no time zone: append Z for UTC")
    return moment.astimezone(UTC).replace(microsecond=0)


if __name__ == "__main__":
    sys.exit(main())
