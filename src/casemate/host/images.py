"""What the host reads off an image before anything is launched."""

import hashlib
from functools import partial

from casemate.host.catalogue import ImageBytes
from casemate.wire.errors import WireError
from casemate.wire.messages.host import ImageIs
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.image_index import HEAD_SIZE, Head
from casemate.wire.protocol.runtime_lock import MAX_LOCK, RuntimeLock
from casemate.wire.sgx.sgxs import read_range
from casemate.wire.sgx.sigstruct import Sigstruct


def check_lock(sgxs: bytes) -> None:
    """Refuses an image whose runtime lock no chip would read, before a chip is asked.

    Whether the lock accepts this machine's runtime, the chip says.

    Raises:
        FaultError: ``launch-refused``, as the chip's own refusal would be.
    """
    try:
        head = Head.parse(read_range(sgxs, 0, HEAD_SIZE))
        RuntimeLock.parse(head.lock(partial(read_range, sgxs), limit=MAX_LOCK))
    except WireError as error:
        raise refuse(Code.LAUNCH_REFUSED, f"runtime-lock: {error}") from None


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
