"""`casemate release`: a signed list of a function's releases, for callers' policies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json
from casemate.cli.output import Screen, facts

if TYPE_CHECKING:
    from casemate.client.caller_keys import CallerKey
    from casemate.images.image import Image
    from casemate.wire.protocol.release_list import ReleaseList

Images = Annotated[
    list[Path] | None, typer.Argument(metavar="IMAGE|DIR...", help="Images' files, or folders to build, to be added.")
]
ListFile = Annotated[Path, typer.Option("--list", metavar="FILE", help="The list; made where there is none.")]
OwnerKey = Annotated[
    Path, typer.Option("--key", metavar="KEY.pem", help="The owner's key: `casemate keygen` makes one.")
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="The function's name. Default: the list's, or the image's.")
]
Only = Annotated[
    bool, typer.Option("--only", metavar=FLAG, help="Take back all earlier releases: no code but these may answer.")
]


def release(
    images: Images = None,
    *,
    list_file: ListFile,
    key: OwnerKey,
    name: Name = None,
    only: Only = False,
    as_json: Json = False,
) -> None:
    r"""Sign a list of a function's releases, which callers' policies name.

    Adds images to the list, raises its version by one and signs it with the
    owner's key (Ed25519). A caller whose policy names the list accepts each
    release on it, and never again a list of a lower version.

    With --only it takes all earlier releases back; without images, too, so
    that no code may answer.

    Example:
        casemate keygen owner.pem
        casemate release hello --list hello.releases.json --key owner.pem
        casemate release hello --list hello.releases.json --key owner.pem --only
    """
    from casemate.cli.files import write_file
    from casemate.cli.images import image_of
    from casemate.client.caller_keys import read_caller_key
    from casemate.client.release_lists import sign_list
    from casemate.wire.protocol.caller_key import caller_key_text
    from casemate.wire.protocol.release_list import Release

    screen = Screen(as_json=as_json)
    if not images and not only:
        raise typer.BadParameter("name images to add, or say --only to take all releases back", param_hint="IMAGE")
    owner = read_caller_key(key)
    before = _list_in(list_file, owner)
    loaded = [image_of(image, screen) for image in images or ()]
    called = name or (None if before is None else before.name) or _name_of(loaded)
    if before is not None and called != before.name:
        raise typer.BadParameter(f"{list_file} is the list of {before.name}, not of {called}", param_hint="--name")
    added = tuple(Release(each.mr_enclave, each.launch_digest) for each in loaded)
    kept: tuple[Release, ...] = () if before is None or only else before.releases
    signed = sign_list(called, 1 if before is None else before.version + 1, (*kept, *added), owner)
    write_file(list_file, signed.encode(), what="release list")
    line = f'{{ releases = "{list_file.name}", owner = "{caller_key_text(owner.public_key)}", name = "{called}" }}'
    screen.show(
        {
            "list": str(list_file),
            "name": called,
            "version": signed.version,
            "owner": caller_key_text(owner.public_key),
            "releases": [
                {"mr_enclave": each.mr_enclave.hex(), "launch_digest": each.launch_digest.hex()}
                for each in signed.releases
            ],
        },
        lambda console: facts(
            console,
            [
                ("list", f"{list_file}, version {signed.version}, of {called}"),
                *(("release", each.mr_enclave.hex()) for each in signed.releases),
                ("policy", f"mr_enclave = {line}"),
            ],
        ),
    )


def _list_in(place: Path, owner: "CallerKey") -> "ReleaseList | None":
    """The list that is there already, if it is this owner's; None where there is none."""
    import os

    from casemate.cli.files import read_file
    from casemate.client.release_lists import check_signature
    from casemate.wire.protocol.release_list import MAX_LIST, ReleaseList

    if not os.path.lexists(place):
        return None
    found = ReleaseList.parse(read_file(place, what="release list", limit=MAX_LIST))
    check_signature(found, owner.public_key)
    return found


def _name_of(images: list["Image"]) -> str:
    names = sorted({image.name for image in images})
    if len(names) != 1:
        raise typer.BadParameter(f"the images have {len(names)} names: say which the list is for", param_hint="--name")
    return names[0]
