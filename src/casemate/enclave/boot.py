"""The first thing that an enclave does: make sense of its measured pages."""

from dataclasses import dataclass

from casemate.images.layout import ImageContents, read_pages
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import Boot
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import ManifestError
from casemate.wire.protocol.tee import Identity


@dataclass(frozen=True, slots=True)
class Program:
    """What this enclave is, in the chip's words, and what its pages make it do."""

    identity: Identity
    tcb: bytes
    """The platform's, for sealing keys."""
    image: ImageContents

    @property
    def debug(self) -> bool:
        """The operator may look inside, so the guest's words may be shown."""
        return self.identity.debug


def read_program(boot: Boot) -> Program:
    """The program in the pages; refused as ``launch-refused`` where they are no image, or not the chip's one.

    The chip has measured the pages; here they are given a meaning, with the function that gave them one at build time.
    """
    try:
        image = read_pages(boot.pages)
    except (WireError, ManifestError) as error:
        raise refuse(Code.LAUNCH_REFUSED, f"the enclave's pages: {error}") from None
    who, manifest = boot.identity, image.manifest
    said = (who.isv_prod_id, who.isv_svn, who.debug)
    wanted = (manifest.product_id, manifest.security_version, manifest.debug)
    if said != wanted:
        raise refuse(
            Code.LAUNCH_REFUSED, f"product id, security version and debug are {said}, the manifest says {wanted}"
        )
    return Program(who, boot.tcb, image)
