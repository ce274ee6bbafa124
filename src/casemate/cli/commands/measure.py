"""`casemate measure`, `casemate diff`: what MRENCLAVE is of, and why two differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.options import FLAG, DeveloperKey, Json
from casemate.cli.output import Screen, facts, printable, table
from casemate.wire.errors import WireError
from casemate.wire.protocol.tee import Tee
from casemate.wire.snp.vmm import Vmm

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.images.functions.diff import Difference
    from casemate.images.functions.explain import PageRange
    from casemate.images.image import Image


OptionalTarget = Annotated[
    Path | None, typer.Argument(metavar="IMAGE|DIR", help="An image's file, or a folder with casemate.toml.")
]
First = Annotated[Path, typer.Argument(metavar="A", help="An image's file, or a folder with casemate.toml.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another one.")]
Explain = Annotated[
    bool, typer.Option("--explain", metavar=FLAG, help="What the manifest grants, and which page came from which file.")
]


MeasuringTee = Annotated[Tee, typer.Option("--tee", help="What will measure it: an SGX enclave, or an SEV-SNP guest.")]
Firmware = Annotated[Path | None, typer.Option("--ovmf", metavar="FILE", help="SNP: the guest's firmware.")]
Kernel = Annotated[Path | None, typer.Option("--kernel", metavar="FILE", help="SNP: for direct boot.")]
Initrd = Annotated[Path | None, typer.Option("--initrd", metavar="FILE", help="SNP: initial RAM disk.")]
Append = Annotated[str, typer.Option("--append", metavar="TEXT", help="SNP: the kernel's command line.")]
Vcpus = Annotated[int, typer.Option("--vcpus", metavar="N", min=1, max=512, help="SNP: virtual processors.")]
VcpuType = Annotated[str, typer.Option("--vcpu-type", metavar="NAME", help="SNP: QEMU's name for the processor.")]
VmmName = Annotated[Vmm, typer.Option("--vmm", help="SNP: who launches the guest.")]
Features = Annotated[str, typer.Option("--guest-features", metavar="BITS", help="SNP: SEV_FEATURES, such as 0x21.")]


def measure(
    target: OptionalTarget = None,
    *,
    tee: MeasuringTee = Tee.SGX,
    explain: Explain = False,
    key: DeveloperKey = None,
    ovmf: Firmware = None,
    kernel: Kernel = None,
    initrd: Initrd = None,
    append: Append = "",
    vcpus: Vcpus = 1,
    vcpu_type: VcpuType = "EPYC-v4",
    vmm: VmmName = Vmm.QEMU,
    guest_features: Features = "0x1",
    as_json: Json = False,
) -> None:
    """Print MRENCLAVE and MRSIGNER of an image or folder, or an SEV-SNP guest's launch digest.

    Example:
        casemate measure hello/hello.sgxs --explain
    """
    screen = Screen(as_json=as_json)
    if tee is Tee.SNP:
        from casemate.cli.snp.measure import GuestFiles, measure_guest

        if target is not None and ovmf is None:
            _measure_image(target, screen, tee, explain=explain, key=key)
            return
        if target is not None or ovmf is None:
            raise typer.BadParameter("an SNP guest is measured from --ovmf FILE, or as a function from an IMAGE")
        files = GuestFiles(ovmf, kernel, initrd, append)
        measure_guest(files, (vcpus, vcpu_type, vmm, _integer(guest_features)), screen, explain=explain)
    elif target is None:
        raise typer.BadParameter("IMAGE|DIR is missing; or name --tee snp and --ovmf FILE")
    else:
        _measure_image(target, screen, tee, explain=explain, key=key)


def _integer(text: str) -> int:
    """A number of 64 bits, decimal or with 0x."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise typer.BadParameter(f"--guest-features is {text!r}, want a number of 64 bits such as 0x21")
    return value


def _measure_image(target: Path, screen: Screen, tee: Tee, *, explain: bool, key: Path | None) -> None:
    """Prints the image's MRENCLAVE; or its launch digest as a paravirtual guest, with each page's GPA."""
    from casemate.cli.commands.build import image_document, image_facts
    from casemate.cli.images import image_of

    image = image_of(target, screen, key=key)
    pages: tuple[PageRange, ...] = ()
    granted: tuple[tuple[str, str], ...] = ()
    if explain:
        from casemate.cli.inspection.manifest_facts import manifest_facts
        from casemate.images.functions.explain import explain_pages  # with the extra "machine" alone

        pages = explain_pages(image)
        granted = manifest_facts(image.contents().manifest)
    said = dict(image_document(image))
    rows = image_facts(image)
    if tee is Tee.SNP:
        said |= {"tee": "snp", "paravirtual": True, "launch_digest": image.launch_digest.hex()}
        rows = [("launch digest", image.launch_digest.hex()), *rows]
    if explain:
        said["manifest"] = dict(granted)
        said["page_ranges"] = [_range_document(found) for found in pages]

    def human(console: "Console") -> None:
        facts(console, [*rows, *granted])
        if explain:
            _show_pages(console, pages)

    screen.show(said, human)
    if tee is Tee.SGX and (why := _not_launchable(image)):
        screen.say(f"no processor would launch it as it is signed: {why}", style="yellow")


def _not_launchable(image: "Image") -> str:
    """Why ECREATE would refuse the stream with this SIGSTRUCT; empty where it would not."""
    from casemate.wire.sgx.attributes import AttributeFlag, Attributes
    from casemate.wire.sgx.ecreate_rules import check_secs
    from casemate.wire.sgx.sgxs import RECORD_SIZE, Ecreate

    signed = image.parse_sigstruct()
    try:
        check_secs(
            Attributes(signed.attributes.flags & ~AttributeFlag.INIT, signed.attributes.xfrm),
            signed.misc_select,
            signed.cet_attributes,
            ssa_frame_size=Ecreate.parse(image.sgxs[:RECORD_SIZE]).ssa_frame_size,
        )
    except WireError as error:
        return f"got {error.got}, want {error.want}"
    return ""


def diff(first: First, second: Second, *, key: DeveloperKey = None, as_json: Json = False) -> None:
    """Say why two measurements differ, down to file and manifest key.

    Exit code 0 where nothing differs, 1 where something does.

    Example:
        casemate diff v1/search.sgxs v2/search.sgxs
    """
    from casemate.cli.images import image_of
    from casemate.images.functions.diff import diff_images

    screen = Screen(as_json=as_json)
    images = image_of(first, screen, key=key), image_of(second, screen, key=key)
    found = diff_images(*images)
    screen.show(
        {
            "a": _identity(images[0]),
            "b": _identity(images[1]),
            "same": not found,
            "differences": [
                {"where": each.where, "a": each.old, "b": each.new, "measured": each.measured} for each in found
            ],
        },
        lambda console: _show_differences(console, images, found),
    )
    if found:
        raise typer.Exit(ExitCode.FAILED)


def _identity(image: "Image") -> dict[str, str]:
    return {"name": image.name, "mr_enclave": image.mr_enclave.hex(), "mr_signer": image.mr_signer.hex()}


def _range_document(found: "PageRange") -> dict[str, object]:
    return {
        "offset": found.offset,
        "pages": found.pages,
        "path": found.path,
        "size": found.size,
        "flags": str(found.flags.name),
        "sha256": None if found.sha256 is None else found.sha256.hex(),
    }


def _show_pages(console: "Console", pages: tuple["PageRange", ...]) -> None:
    rows = table("offset", "pages", "flags", "bytes", "file", "SHA-256 of the file")
    for found in pages:
        digest = "" if found.sha256 is None else found.sha256.hex()
        rows.add_row(
            f"{found.offset:#x}",
            str(found.pages),
            str(found.flags.name),
            str(found.size),
            printable(found.path),
            digest,
        )
    console.print(rows)


def _show_differences(console: "Console", images: tuple["Image", "Image"], found: tuple["Difference", ...]) -> None:
    facts(console, [(f"MRENCLAVE {label}", image.mr_enclave.hex()) for label, image in zip("AB", images, strict=True)])
    if not found:
        console.print("no difference", style="bold green")
        return
    rows = table("where", "A", "B", "changes MRENCLAVE")
    for each in found:
        rows.add_row(
            *(printable("absent" if text is None else text) for text in (each.where, each.old, each.new)),
            "yes" if each.measured else "no, signed alone",
        )
    console.print(rows)
