"""`casemate service ...`: services that a machine keeps, starts in the order of their uses, and stops."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.commands.enclaves import Target as Enclave
from casemate.cli.options import FLAG, DeveloperKey, Json, Relock, State
from casemate.cli.output import Screen, facts, printable, table
from casemate.wire.protocol.manifest import Engine

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.wire.messages.services import OperationIs, ServiceIs

Service = Annotated[str, typer.Argument(metavar="NAME", help="The service's name: `casemate service list` shows it.")]
NewFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it must be new or empty.")]
EngineOption = Annotated[Engine, typer.Option("--engine", help="The language of the service.")]
ServiceName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its name. Default: the folder's.")]
Target = Annotated[
    str, typer.Argument(metavar="DIR|IMAGE|NAME", help="A folder, an image's file, or a service that a package brings.")
]
AllowOlder = Annotated[
    bool, typer.Option("--allow-older", metavar=FLAG, help="Put a lower version in the place of a higher one.")
]
WithUsers = Annotated[
    bool, typer.Option("--with-users", metavar=FLAG, help="Stop the services that use it, too, and before it.")
]

ConfigurationFile = Annotated[Path, typer.Argument(metavar="FILE.json", help="The configuration.")]
OwnerKey = Annotated[Path, typer.Option("--owner", metavar="KEY.pem", help="The key whose deployment it is.")]
ConfigurationVersion = Annotated[
    int, typer.Option("--version", metavar="N", min=0, help="Above that of every configuration before.")
]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def new(
    folder: NewFolder, *, engine: EngineOption = Engine.JAVASCRIPT, name: ServiceName = None, as_json: Json = False
) -> None:
    """Write a service that runs: manifest, operations, schemas, tests.

    Example:
        casemate service new tallies --engine python
        casemate test tallies
    """
    from casemate.images.functions.starter import Template, write_starter

    if not str(folder).isprintable():
        raise typer.BadParameter("the folder's name has characters that cannot be shown or typed", param_hint="DIR")
    written = write_starter(folder, name=name, engine=engine, template=Template.SERVICE)
    Screen(as_json=as_json).show(
        {"folder": str(folder), "files": [str(path) for path in written]},
        lambda console: facts(
            console, [*(("wrote", str(path)) for path in written), ("next", f"casemate service install {folder}")]
        ),
    )


@app.command()
def install(
    target: Target,
    *,
    allow_older: AllowOlder = False,
    key: DeveloperKey = None,
    relock: Relock = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Have the machine keep a service; it builds a folder first.

    A newer version takes the installed one's place. What runs goes on until
    `casemate service start`, which changes over while calls come in.

    Example:
        casemate service install tallies
    """
    from casemate.cli.own_machine import machine_on
    from casemate.cli.service_sources import source_of

    screen = Screen(as_json=as_json)
    machine = machine_on(state)
    with source_of(target, screen, key=key, relock=relock) as source:
        found = machine.install_service(source.image, source=source.words, allow_older=allow_older)
    _show_one(screen, found)


@app.command(name="list")
def list_services(*, state: State = None, as_json: Json = False) -> None:
    """List the installed services, and how each is."""
    from casemate.cli.own_machine import machine_on

    found = machine_on(state).services()
    Screen(as_json=as_json).show(
        {"services": [_brief(each) for each in found]}, lambda console: _show_list(console, found)
    )


@app.command()
def show(name: Service, *, state: State = None, as_json: Json = False) -> None:
    """Show a service: operations, schemas, whom it uses, where it came from."""
    from casemate.cli.own_machine import machine_on

    _show_one(Screen(as_json=as_json), machine_on(state).service(name))


@app.command()
def start(name: Service, *, state: State = None, as_json: Json = False) -> None:
    """Start a service, and before it all that it uses.

    Independent ones start at the same time. Where another version of it runs,
    the installed one takes its place: new sessions go to it, old ones end with
    the old version.

    Example:
        casemate service start shop
    """
    from casemate.cli.own_machine import machine_on

    _show_one(Screen(as_json=as_json), machine_on(state).start_service(name))


@app.command()
def stop(name: Service, *, with_users: WithUsers = False, state: State = None, as_json: Json = False) -> None:
    """Stop a service; not while others that run use it, unless they are stopped, too."""
    from casemate.cli.own_machine import machine_on

    _show_one(Screen(as_json=as_json), machine_on(state).stop_service(name, with_users=with_users))


@app.command()
def remove(name: Service, *, state: State = None, as_json: Json = False) -> None:
    """Forget a service and destroy its enclaves; not while others that are installed use it.

    Its sealed state stays where it is: installed again, the same code finds it.
    """
    from casemate.cli.own_machine import machine_on

    left = machine_on(state).remove_service(name)
    Screen(as_json=as_json).show(
        {"removed": name, "services": [each.name for each in left]},
        lambda console: facts(console, [("removed", name), ("left", ", ".join(each.name for each in left) or "none")]),
    )


@app.command()
def graph(*, state: State = None, as_json: Json = False) -> None:
    """Draw which service uses which, and how each is."""
    from casemate.cli.own_machine import machine_on
    from casemate.wire.protocol.service_graph import drawn

    found = machine_on(state).services()
    uses = {each.name: each.uses for each in found}
    states = {each.name: str(each.state) for each in found}
    Screen(as_json=as_json).show(
        {"services": [{"name": each.name, "state": str(each.state), "uses": list(each.uses)} for each in found]},
        lambda console: console.print("\n".join(drawn(uses, states)) or "no services are installed", highlight=False),
    )


@app.command()
def configure(
    target: Enclave,
    file: ConfigurationFile,
    *,
    owner: OwnerKey,
    version: ConfigurationVersion,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Give a service a configuration, as its deployment's owner.

    The owner's key signs it for this deployment and this version. The enclave
    checks it against its schema, and keeps it with its state: no version
    before it counts any more.

    Example:
        casemate launch keeper --owner owner.pem
        casemate service configure keeper config.json --owner owner.pem --version 1
    """
    from casemate.cli.endpoints import LocalEndpoint
    from casemate.cli.files import read_file
    from casemate.cli.own_machine import enclave_of, machine_on
    from casemate.client.caller_keys import read_caller_key
    from casemate.client.configurations import sign_configuration
    from casemate.wire.encodings.json_text import parse_json
    from casemate.wire.protocol.configuration import MAX_CONFIGURATION

    key = read_caller_key(owner)
    text = read_file(file, what="configuration", limit=MAX_CONFIGURATION)
    configuration = parse_json("configuration", text, limit=MAX_CONFIGURATION)
    machine = machine_on(state)
    named = enclave_of(target)
    if isinstance(named, str):
        with LocalEndpoint(machine).connect() as client:
            shown = client.function(named).current
    else:
        numbered = [each for each in machine.enclaves() if each.enclave == named]
        if not numbered:
            raise typer.BadParameter(f"no enclave {named} is here: `casemate ps` lists them", param_hint="N|NAME")
        shown = numbered[0]
    now = machine.configure(shown.enclave, sign_configuration(shown.name, configuration, key, version))
    Screen(as_json=as_json).show(
        {"enclave": shown.enclave, "name": shown.name, "version": now},
        lambda console: facts(console, [("enclave", f"{shown.enclave} ({shown.name})"), ("version", str(now))]),
    )


def _brief(service: "ServiceIs") -> dict[str, object]:
    return {
        "name": service.name,
        "version": service.version,
        "family": str(service.family),
        "description": service.description,
        "state": str(service.state),
        "reason": service.reason,
        "enclave": service.enclave or None,
        "uses": list(service.uses),
        "operations": [each.name for each in service.operations],
    }


def _show_list(console: "Console", found: "tuple[ServiceIs, ...]") -> None:
    if not found:
        console.print("no services are installed")
        return
    shown = table("service", "version", "state", "enclave", "uses", "")
    for each in found:
        used = ", ".join(each.uses)
        shown.add_row(
            *(each.name, each.version, str(each.state), str(each.enclave or ""), used, printable(each.reason))
        )
    console.print(shown)


def _show_one(screen: Screen, service: "ServiceIs") -> None:
    document = _brief(service) | {
        "operations": [_operation(each) for each in service.operations],
        "source": service.source,
        "mr_enclave": service.mr_enclave.hex(),
        "mr_signer": service.mr_signer.hex(),
    }
    rows = [
        ("service", f"{service.name} {service.version}, {service.family}"),
        ("", printable(service.description)),
        ("state", f"{service.state}{': ' if service.reason else ''}{printable(service.reason)}"),
        *([("enclave", str(service.enclave))] if service.enclave else []),
        *(("operation", _words(each)) for each in service.operations),
        ("uses", ", ".join(service.uses) or "none"),
        ("MRENCLAVE", service.mr_enclave.hex()),
        ("from", printable(service.source)),
    ]
    screen.show(document, lambda console: facts(console, rows))


def _operation(operation: "OperationIs") -> dict[str, object]:
    import json

    return {
        "name": operation.name,
        "kind": str(operation.kind),
        "idempotent": operation.idempotent,
        "plain": operation.plain,
        "stream": operation.stream,
        "input": json.loads(operation.input),
        "output": json.loads(operation.output),
    }


def _words(operation: "OperationIs") -> str:
    more = [
        word
        for word, holds in (
            ("idempotent", operation.idempotent and operation.kind != "query"),
            ("plain", operation.plain),
            ("stream", operation.stream),
        )
        if holds
    ]
    return f"{operation.name} ({', '.join([operation.kind, *more])})"
