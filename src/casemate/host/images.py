"""What the host reads off an image before anything is launched."""

import hashlib

from casemate.host.catalogue import ImageBytes
from casemate.wire.messages.host import ImageIs
from casemate.wire.sgx.sigstruct import Sigstruct


def describe(name: str, files: ImageBytes) -> ImageIs:
    """An image's digest and what its SIGSTRUCT says; :class:`WireError` where that is none.

    That stream and SIGSTRUCT belong together, and that the signature is good, the chip checks at each launch.
    """
    signed = Sigstruct.parse(files.sigstruct)
    digest = hashlib.sha256(files.sgxs)
    digest.update(files.sigstruct)
    return ImageIs(
        image=digest.digest(),
        name=name,
        size=len(files.sgxs) + len(files.sigstruct),
        mr_enclave=signed.enclave_hash,
        mr_signer=signed.mr_signer(),
        isv_prod_id=signed.isv_prod_id,
        isv_svn=signed.isv_svn,
        debug=signed.attributes.debug,
    )
