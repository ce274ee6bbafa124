"""Reads the program out of the enclave's measured pages, as the first thing that an enclave does."""

from dataclasses import dataclass

from casemate.images.layout import ImageContents, read_pages
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import Boot
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.tee import Identity


@dataclass(frozen=True, slots=True)
class Program:
    """The identity that the chip gives this enclave, and the image in its pages."""

    identity: Identity
    tcb: bytes
    """The platform's TCB, for sealing keys."""
    image: ImageContents

    @property
    def debug(self) -> bool:
        """Whether the operator may look inside; the guest's words may be shown then."""
        return self.identity.debug


def read_program(boot: Boot) -> Program:
    """The program in the pages; ``launch-refused`` where they are not an image, or not the one launched.

    The chip measures the pages and does not parse them. The parser is the one that `casemate build` checks images with.
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
