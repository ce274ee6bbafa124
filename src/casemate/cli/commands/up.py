"""`casemate up`: a whole machine, in the foreground or behind it."""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from casemate.cli.options import FLAG, Json, Layers, Ocalls, Seed, State
from casemate.cli.output import Screen, facts, printable
from casemate.wire.snp.tcb import Product

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.client.local import LocalMachine, Supervisor

Pool = Annotated[int, typer.Option("--pool", metavar="N", min=0, max=64, help="How many guests to keep warm.")]
Dev = Annotated[
    bool,
    typer.Option(
        "--dev", metavar=FLAG, help="State in memory, in a directory of its own that is gone when the machine ends."
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", metavar=FLAG, help="Return once it is ready; `casemate down` ends it.")
]
Bind = Annotated[
    str, typer.Option("--bind", metavar="ADDRESS", help="The gateway's address. Others than loopback let others in.")
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=0, max=65535, help="The gateway's port. Default: a free one from 8800 on."),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="PEM", help="The gateway's certificate, then its issuers': HTTPS."),
]
PrivateKey = Annotated[
    Path | None, typer.Option("--tls-key", metavar="PEM", help="The key of that certificate, without passphrase.")
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--cors-origin", metavar="ORIGIN", help="Pages that browsers may call from. Several times."),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Another name that clients may call it by. Several times."),
]
SnpProduct = Annotated[
    Product | None,
    typer.Option(
        "--snp-product", help="Which SEV-SNP processor a new machine has. Default: Milan, or what a machine has."
    ),
]
SnpReport = Annotated[
    int | None,
    typer.Option(
        "--snp-report", metavar="N", min=2, max=5, help="Version of its reports: 2, 3 or 5. Default: the product's."
    ),
]
NoGateway = Annotated[
    bool, typer.Option("--no-gateway", metavar=FLAG, help="No HTTP: the Unix socket in the state directory alone.")
]
AcceptLoss = Annotated[
    str | None,
    typer.Option(
        "--accept-loss",
        metavar="REASON",
        help="Begin anew with what this machine has lost, such as the anchors of sealed states. Logged.",
    ),
]

IDLE = 19
"""Niceness for work that nobody waits for."""


@dataclass(frozen=True, slots=True)
class Started:
    """A machine that has just been started."""

    machine: "LocalMachine"
    token: str | None
    """The administrator's token for this run, which is stored nowhere."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which other shells find the machine."""
        found = {"CASEMATE_STATE": str(self.machine.state)}
        if self.token is not None:
            found |= {"CASEMATE_URL": self.machine.status.url, "CASEMATE_TOKEN": self.token}
        return found


def up(
    *,
    state: State = None,
    dev: Dev = False,
    detach: Detach = False,
    bind: Bind = "127.0.0.1",
    port: Port = None,
    tls_cert: Certificate = None,
    tls_key: PrivateKey = None,
    cors_origin: Origins = None,
    allow_host: Hosts = None,
    no_gateway: NoGateway = False,
    seed: Seed = None,
    layer: Layers = None,
    pool: Pool = 1,
    snp_product: SnpProduct = None,
    snp_report: SnpReport = None,
    accept_loss: AcceptLoss = None,
    ocalls: Ocalls = None,
    as_json: Json = False,
) -> None:
    """Run a machine: a simulated chip, its maker, an untrusted host, and a gateway for HTTP.

    It stays in the foreground until Ctrl-C, which lets calls under way finish;
    a second Ctrl-C does not. What was launched on it is launched again when it
    is started anew. Prints the URL, and a token that is good for this run.

    Example:
        casemate up --dev
    """
    from concurrent.futures import ThreadPoolExecutor

    from casemate.cli.dev_state import make_dev_state
    from casemate.cli.foreground import SIGNALS
    from casemate.cli.gateway_health import wait_for_health
    from casemate.cli.learner_image import assembled_guests, put_guests, put_learner_image
    from casemate.cli.own_machine import state_directory
    from casemate.client.local import ocalls_arguments, running_machine, snp_arguments, start_supervisor
    from casemate.link.listen_address import address_problem
    from casemate.link.server_tls import server_context
    from casemate.process.extras import check_extra

    check_extra("machine", "a machine on this computer")  # before any file is created
    screen = Screen(as_json=as_json)
    if dev and state is not None:
        raise typer.BadParameter("a directory of its own is what --dev makes: leave out --state", param_hint="--dev")
    if problem := address_problem(bind):
        raise typer.BadParameter(problem, param_hint="--bind")
    gateway = ["--bind", bind, *(() if port is None else ("--port", str(port)))]
    gateway += _passed_on(tls_cert, tls_key, cors_origin or [], allow_host or [])
    if tls_cert is not None and tls_key is not None and not no_gateway:
        # Fails here with a message, instead of later in the gateway, which loads the files itself.
        server_context(tls_cert, tls_key)
    token = None if no_gateway else _fresh_token()
    place = make_dev_state() if dev else state_directory(state).absolute()
    arguments = ["--state", str(place), "--lasting", "--pool", str(pool)]
    arguments += ["--seed", seed] if seed is not None else []
    arguments += [part for each in layer or () for part in ("--layer", each)]
    arguments += snp_arguments(snp_product, snp_report)
    arguments += [] if accept_loss is None else ["--accept-loss", accept_loss]
    arguments += ["--remove-state"] if dev else []
    arguments += ocalls_arguments(ocalls)
    if token is not None:
        arguments += ["--token-digest", _digest(token), *gateway]
    assembling = ThreadPoolExecutor(1).submit(assembled_guests)  # while the machine starts
    supervisor = start_supervisor(arguments, attached=not detach)
    with _ended_on_error(supervisor, place if dev else None):
        started = Started(running_machine(place), token)
        if token is not None:
            wait_for_health(started.machine)
            put_guests(place, assembling.result())
        # Before anything is printed: from the first word on, signals are for the machine and not for this process.
        if not detach:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        screen.show(_document(started), lambda console: _show(console, started))
        if token is not None:  # at the end and at low priority, since the first run makes an RSA key
            os.nice(IDLE)
            put_learner_image(
                place,
                platform=started.machine.status.platform,
                runtime=started.machine.status.runtime,
            )
    if detach:
        screen.say(f"running; `casemate down --state {shlex.quote(str(place))}` ends it")
        return
    screen.say("running; Ctrl-C ends it")
    _wait(supervisor, place if dev else None)


@contextmanager
def _ended_on_error(supervisor: "Supervisor", temporary: Path | None) -> Iterator[None]:
    """Ends the supervisor where the block raises, since nobody else knows of it."""
    try:
        yield
    except BaseException:
        if supervisor.lifeline is None:
            supervisor.process.terminate()
        supervisor.end()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def machine_document(machine: "LocalMachine") -> dict[str, object]:
    """The machine as JSON for ``--json``."""
    from casemate.cli.own_machine import fingerprint

    status = machine.status
    return {
        "state": str(machine.state),
        "url": status.url or None,
        "host_socket": status.host_socket,
        "platform": status.platform,
        "runtime": {part.component: part.digest.hex() for part in status.runtime},
        "root_sha256": fingerprint(machine),
        "seeded": status.seeded,
        "clock": status.clock or None,
        "ocalls": {"file": status.ocalls_module, "names": list(status.ocalls)} if status.ocalls_module else None,
        "pids": {"supervisor": status.supervisor_pid, "chip": status.chip_pid, "host": status.host_pid},
    }


def machine_facts(machine: "LocalMachine") -> list[tuple[str, str]]:
    """Facts about the machine, for people."""
    from casemate.cli.own_machine import fingerprint

    status = machine.status
    return [
        ("URL", status.url or "none: it has no gateway"),
        ("state", str(machine.state)),
        ("socket", status.host_socket),
        ("platform", status.platform),
        *(("runtime", f"{part.component} {part.digest.hex()}") for part in status.runtime),
        ("root", f"simulated, SHA-256 {fingerprint(machine)}"),
        ("seeded", "yes: everybody can have its keys" if status.seeded else "no"),
        *([("ocalls", f"{', '.join(status.ocalls)}, by {status.ocalls_module}")] if status.ocalls_module else []),
        *([("clock", status.clock)] if status.clock else []),
    ]


def _document(started: Started) -> dict[str, object]:
    return machine_document(started.machine) | {"token": started.token, "environment": started.environment}


def _facts(started: Started) -> list[tuple[str, str]]:
    shown = machine_facts(started.machine)
    if started.token is not None:
        shown.append(("token", f"{started.token} (an administrator's, for this run)"))
    return shown


def _show(console: "Console", started: Started) -> None:
    """Prints the machine's facts; the last lines are ``export NAME=VALUE`` for a shell."""
    facts(console, _facts(started))
    console.print()
    for name, value in started.environment.items():
        console.print(f"export {name}={shlex.quote(printable(value))}", soft_wrap=True)


def _passed_on(certificate: Path | None, key: Path | None, origins: list[str], hosts: list[str]) -> list[str]:
    """The gateway's own options, as the supervisor's command line takes them."""
    if (certificate is None) != (key is None):
        raise typer.BadParameter("give both --tls-cert and --tls-key, or neither", param_hint="--tls-cert")
    own = []
    if certificate is not None and key is not None:
        own += [f"--tls-cert={certificate.absolute()}", f"--tls-key={key.absolute()}"]
    own += [f"--cors-origin={origin}" for origin in origins] + [f"--allow-host={name}" for name in hosts]
    scheme = ["--scheme", "http" if certificate is None else "https"]
    return [*scheme, *(f"--gateway={argument}" for argument in own)]


def _fresh_token() -> str:
    from casemate.wire.protocol.access_tokens import SECRET_SIZE, token_text

    return token_text(os.urandom(SECRET_SIZE))


def _digest(token: str) -> str:
    from casemate.wire.protocol.access_tokens import token_digest

    return token_digest(token).hex()


def _wait(supervisor: "Supervisor", temporary: Path | None) -> NoReturn:
    """Replaces this process by a small program that waits for the supervisor, to free this one's memory."""
    from casemate.cli import foreground

    sys.stdout.flush()
    sys.stderr.flush()
    if supervisor.lifeline is not None:
        os.set_inheritable(supervisor.lifeline, True)
    command = [sys.executable, "-I", "-S", foreground.__file__, str(supervisor.process.pid)]
    command += [] if temporary is None else [str(temporary)]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is what we want
