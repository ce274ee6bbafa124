"""Carries out the attacks on confidential VMs that a command line names, and shows what became of each."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from casemate.client import connect
from casemate.client.local import local_machine
from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.scenes import LoneScene, MachineScene, Scene
from casemate.testing.hostile.table import TABLE, Attack, expected
from casemate.wire.snp.mode import VmMode

_STYLES = {
    AttackOutcome.SUCCESS: "bold red",
    AttackOutcome.GARBAGE: "yellow",
    AttackOutcome.FAULT: "green",
    AttackOutcome.REFUSAL: "green",
    AttackOutcome.NOTHING: "cyan",
}


def main(words: Sequence[str]) -> int:
    """Carries out what the command line asks for."""
    wanted = _parser().parse_args(words)
    attacks = [attack for attack in TABLE if wanted.attack in (None, attack.name)]
    modes = wanted.mode or list(VmMode)
    found: dict[Attack, dict[VmMode, AttackResult]] = {}
    progress = Console(stderr=True, quiet=not sys.stderr.isatty())
    with _scene(on_machine=wanted.machine) as scene, progress.status("") as status:
        for attack in attacks:
            for mode in modes:
                status.update(f"{attack.name} ({attack.way}), {mode}")
                found.setdefault(attack, {})[mode] = scene.carry_out(attack, mode)
    if wanted.json:
        sys.stdout.write(json.dumps(_document(found), indent=2) + "\n")
    else:
        _show(found, modes, words=wanted.explain)
    as_told = all(
        result.cell == expected(attack, mode) for attack, row in found.items() for mode, result in row.items()
    )
    return 0 if as_told else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m casemate.testing.hostile", description="Attacks confidential VMs, and shows what becomes of it."
    )
    names = list(dict.fromkeys(attack.name for attack in TABLE))
    parser.add_argument("--attack", choices=names, metavar="NAME", help=f"this one alone: {', '.join(names)}")
    parser.add_argument("--mode", action="append", type=VmMode, choices=list(VmMode), help="this mode; may be repeated")
    parser.add_argument("--machine", action="store_true", help="against a whole machine, started for it, by its host")
    parser.add_argument("--explain", action="store_true", help="also what happened, in words")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


@contextmanager
def _scene(*, on_machine: bool) -> Iterator[Scene]:
    if not on_machine:
        yield LoneScene()
        return
    with (
        tempfile.TemporaryDirectory(prefix="casemate-hostile-") as folder,
        local_machine(Path(folder) / "machine") as machine,
        connect(machine.host_socket) as client,
    ):
        yield MachineScene(machine, client)


def _document(found: dict[Attack, dict[VmMode, AttackResult]]) -> list[dict[str, object]]:
    return [
        {
            "attack": attack.name,
            "door": attack.way,  # the member that programs know since the first version
            "mode": str(mode),
            "outcome": str(result.outcome),
            "by": result.by,
            "words": result.words,
            "as_documented": result.cell == expected(attack, mode),
        }
        for attack, row in found.items()
        for mode, result in row.items()
    ]


def _show(found: dict[Attack, dict[VmMode, AttackResult]], modes: Sequence[VmMode], *, words: bool) -> None:
    console = Console()
    table = Table("attack", "path")
    for mode in modes:
        table.add_column(str(mode), overflow="fold")
    for attack, row in found.items():
        table.add_row(attack.name, attack.way, *(_cell(row[mode], expected(attack, mode)) for mode in modes))
    console.print(table)
    if words:
        for attack, row in found.items():
            console.print(f"\n[bold]{attack.name}[/] ({attack.way})", highlight=False)
            for mode, result in row.items():
                style = _STYLES[result.outcome]
                console.print(
                    f"  {mode}: [{style}]{result.cell}[/]: ", result.words, sep="", highlight=False, markup=True
                )


def _cell(result: AttackResult, wanted: str) -> str:
    shown = f"[{_STYLES[result.outcome]}]{result.outcome}[/]" + (f"\n[dim]{result.by}[/]" if result.by else "")
    return shown if result.cell == wanted else f"{shown}\n[bold reverse red]documented: {wanted}[/]"
