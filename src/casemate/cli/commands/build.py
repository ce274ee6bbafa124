"""`casemate init`, `casemate build`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import DeveloperKey, Json, Relock
from casemate.cli.output import Document, Screen, facts, printable
from casemate.images.functions.starter import Template
from casemate.wire.protocol.manifest import Engine

if TYPE_CHECKING:
    from casemate.images.image import Image
    from casemate.wire.protocol.runtime_lock import RuntimeLock

NewFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it must be new or empty.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The enclave's name. Default: the folder's.")]
EngineOption = Annotated[Engine, typer.Option("--engine", help="The language of the function.")]
TemplateOption = Annotated[
    Template, typer.Option("--template", help="A function that keeps nothing, or one with sealed state.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml.")]
Destination = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="PATH", help="The folder for the image's files. Default: DIR.")
]


def init(
    folder: NewFolder,
    *,
    name: Name = None,
    engine: EngineOption = Engine.JAVASCRIPT,
    template: TemplateOption = Template.HELLO,
    as_json: Json = False,
) -> None:
    """Write a starter: manifest, function, schemas, an input, a test.

    Its casemate.schema.json has editors complete and check casemate.toml.

    Example:
        casemate init hello
        casemate run hello --input hello/input.json
        casemate init budget --engine python --template state
    """
    from casemate.images.functions.starter import write_starter

    if not str(folder).isprintable():
        raise typer.BadParameter("the folder's name has characters that cannot be shown or typed", param_hint="DIR")

    written = write_starter(folder, name=name, engine=engine, template=template)
    Screen(as_json=as_json).show(
        {"folder": str(folder), "files": [str(path) for path in written]},
        lambda console: facts(
            console,
            [
                *(("wrote", str(path)) for path in written),
                ("next", f"casemate run {_typed(folder)} --input {_typed(folder / 'input.json')}"),
            ],
        ),
    )


def _typed(path: Path) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(printable(f"./{path}" if str(path).startswith("-") else str(path)))


def build(
    folder: Folder,
    *,
    output: Destination = None,
    key: DeveloperKey = None,
    relock: Relock = False,
    as_json: Json = False,
) -> None:
    """Build a folder into an enclave image.

    Writes NAME.sgxs, the stream of ECREATE, EADD and EEXTEND records whose
    SHA-256 is MRENCLAVE, and NAME.sigstruct, signed with the developer's key.

    MRENCLAVE is the same wherever the measured files are: casemate.toml,
    casemate.lock, guest/ and schemas/, and the version of Casemate. So commit
    casemate.lock: it alone depends on the computer that it was written on.
    The same key and SOURCE_DATE_EPOCH give the same NAME.sigstruct, too.
    Which interpreter builds does not matter.

    The engine then parses and links the modules, without running them: what
    it cannot load is an error with file, line and column. Python is compiled
    by the interpreter that builds, and its imports and names are checked.

    A missing casemate.lock is written, for this computer's runtime. One that
    does not accept that runtime is an error: `casemate lock add` accepts it
    beside the others, --relock accepts it alone; with either MRENCLAVE
    changes. `casemate measure` needs no runtime, and tells MRENCLAVE anywhere.

    Example:
        casemate build hello
        SOURCE_DATE_EPOCH=0 casemate build hello -o dist --key release.pem
    """
    from casemate.cli.images import MANIFEST, build_time, developer_key, is_source, lock
    from casemate.images.errors import FolderError
    from casemate.images.functions.build import build as build_image
    from casemate.images.functions.javascript.load_check import check_loads
    from casemate.images.image import write_image
    from casemate.process.extras import engine_binary
    from casemate.wire.messages.entry import ANSWERED_OCALLS

    screen = Screen(as_json=as_json)
    if not is_source(folder):
        raise FolderError(f"{folder} holds no {MANIFEST}: it is no enclave's folder")
    epoch, epoch_from = build_time()
    lock(folder, screen, relock=relock)
    image = build_image(folder, developer_key(key, screen), epoch=epoch)
    contents = image.contents()
    if contents.manifest.engine is Engine.PYTHON:
        _say_what_parsed(contents.lock, screen)
    elif not check_loads(engine_binary("the engine of JavaScript"), contents.modules()):
        screen.say("the engine could not be asked whether it loads the code: a launch will show it", style="yellow")
    for ocall in contents.manifest.ocalls:
        if ocall.name not in ANSWERED_OCALLS:
            answered = f"{', '.join(ANSWERED_OCALLS)}, and what `casemate up --ocalls FILE` adds"
            screen.say(f"OCALL {ocall.name}: Casemate's own hosts answer {answered}", style="yellow")
    paths = write_image(image, folder if output is None else output)
    said = {
        **image_document(image),
        "build_date_from": epoch_from,
        "sgxs": str(paths[0]),
        "sigstruct": str(paths[1]),
    }
    screen.show(
        said,
        lambda console: facts(
            console,
            [
                *image_facts(image),
                ("date", f"{build_date(image)} ({epoch_from})"),
                ("wrote", f"{paths[0]} ({len(image.sgxs)} bytes)"),
                ("wrote", f"{paths[1]} ({len(image.sigstruct)} bytes)"),
            ],
        ),
    )


def _say_what_parsed(lock: "RuntimeLock", screen: Screen) -> None:
    """Says so where the lock accepts interpreters of another minor version than the one that has compiled the code."""
    from casemate.images.lock import this_platform

    here = this_platform().rpartition("-")[2]
    others = [tag for tag in lock.platforms() if not tag.endswith(f"-{here}")]
    if others:
        screen.say(
            f"{here} alone has compiled the code; casemate.lock also accepts {', '.join(others)}: a launch there will "
            "show whether it loads",
            style="yellow",
        )


def image_document(image: "Image") -> Document:
    """An image's identity, for ``--json``."""
    from casemate.wire.sgx.sgxs import PAGE_SIZE

    sigstruct = image.parse_sigstruct()
    return {
        "name": image.name,
        "mr_enclave": image.mr_enclave.hex(),
        "mr_signer": image.mr_signer.hex(),
        "product_id": sigstruct.isv_prod_id,
        "security_version": sigstruct.isv_svn,
        "debug": sigstruct.attributes.debug,
        "build_date": build_date(image),
        "pages": len(image.parse_sgxs().contents) // PAGE_SIZE,
        "sgxs_size": len(image.sgxs),
        "sigstruct_size": len(image.sigstruct),
    }


def image_facts(image: "Image") -> list[tuple[str, str]]:
    """An image's identity, for a person."""
    said = image_document(image)
    return [
        ("name", str(said["name"])),
        ("MRENCLAVE", str(said["mr_enclave"])),
        ("MRSIGNER", str(said["mr_signer"])),
        ("version", f"product {said['product_id']}, security version {said['security_version']}"),
        ("debug", "yes: whoever runs it can look inside" if said["debug"] else "no"),
        ("pages", f"{said['pages']}, {said['sgxs_size']} bytes of stream"),
    ]


def build_date(image: "Image") -> str:
    """SIGSTRUCT's date, which is binary-coded decimal."""
    digits = f"{image.parse_sigstruct().date:08x}"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
