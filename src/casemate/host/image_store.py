"""The images that a host keeps, and the catalogue's one thread, in which all work with disk or many bytes is done."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from casemate.host.catalogue import Catalogue, CatalogueError, ImageBytes
from casemate.wire.errors import WireError
from casemate.wire.messages.host import ImageIs, Launch, PutImage
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.image_index import HEAD_SIZE, Head
from casemate.wire.protocol.runtime_lock import MAX_LOCK, RuntimeLock
from casemate.wire.sgx.sgxs import read_range
from casemate.wire.sgx.sigstruct import Sigstruct

MAX_IMAGES = 1024
"""Most images that are kept."""

MAX_IMAGE_BYTES = 16 * 1024**3
"""Most bytes of all images together."""

SHARE = 4
"""A token that is not an administrator's may have a quarter of the images that are kept, and of the enclaves."""

SHARE_OF_BYTES = 16
"""A token below the role admin may have a sixteenth of all bytes: 1 GiB."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class ImageStore:
    """Keeps images in ``catalogue``. Every refusal is a :class:`FaultError`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalogue")

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs ``work`` in the catalogue's thread; returns its result. FaultError if the catalogue fails."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except CatalogueError as error:
            _log.error("%s", error)
            raise refuse(Code.UNAVAILABLE, f"the host's catalogue: {error}") from None

    async def put(self, request: PutImage, *, keeper: str = "") -> ImageIs:
        """Keeps an image, durably. The same bytes again are the same image, under its first name.

        Args:
            request: the image.
            keeper: the name of the token that brings it, whose share it counts to; empty for the machine's owner.
        """
        about, files = await self.described(request)
        return await self.run(self._keep, about, files, keeper)

    async def all(self) -> tuple[ImageIs, ...]:
        """All images that are kept, oldest first; also those that are here for a deployment's sake alone."""
        return await self.run(self._catalogue.images)

    async def get(self, image: bytes) -> ImageIs:
        """One image, by its digest."""
        found = await self.run(self._catalogue.image, image)
        if found is None:
            raise refuse(Code.UNKNOWN_IMAGE, f"no image {image.hex()} here")
        return found

    async def remove(self, image: bytes) -> None:
        """Forgets an image; while deployments need it, it stays for them, and goes with the last one."""
        if not await self.run(self._catalogue.remove, image):
            raise refuse(Code.UNKNOWN_IMAGE, f"no image {image.hex()} here")

    async def described(self, request: Launch | PutImage) -> tuple[ImageIs, ImageBytes]:
        """The description of an image that a client has sent, and its bytes; WireError if it is malformed."""
        files = ImageBytes(request.sgxs, request.sigstruct)
        about = await self.run(describe, request.name, files)
        await self.run(check_lock, files.sgxs)
        return about, files

    async def files(self, image: bytes) -> ImageBytes:
        """The bytes of an image, by its digest."""
        files = await self.run(self._catalogue.files, image)
        if files is None:
            raise refuse(Code.UNKNOWN_IMAGE, f"no image {image.hex()} here")
        return files

    def _keep(self, about: ImageIs, files: ImageBytes, keeper: str) -> ImageIs:
        """Stores an image. Runs in the catalogue's thread, so nothing changes between check and insertion."""
        if self._catalogue.image(about.image) is None:
            _check_room(self._catalogue.images(), about, MAX_IMAGES, MAX_IMAGE_BYTES, "")
            if keeper:
                most, most_bytes = max(1, MAX_IMAGES // SHARE), MAX_IMAGE_BYTES // SHARE_OF_BYTES
                _check_room(self._catalogue.images(keeper), about, most, most_bytes, keeper)
        return self._catalogue.put(about, files, keeper)


def _check_room(there: tuple[ImageIs, ...], more: ImageIs, most: int, most_bytes: int, keeper: str) -> None:
    """Refuses an image beyond what may be kept, by all or by one token."""
    held = sum(about.size for about in there)
    if len(there) < most and held + more.size <= most_bytes:
        return
    whose, how_many = (f"token {keeper} keeps", "its share") if keeper else ("this machine keeps", "all that it may")
    oldest = f": remove one, such as {there[0].image.hex()}" if there else ""
    raise refuse(
        Code.BUSY,
        f"{whose} {len(there)} images of {held >> 20} MiB, and {how_many} is {most} of {most_bytes >> 20} MiB{oldest}",
    )


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
