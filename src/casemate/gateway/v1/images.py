"""`/v1/images`: images that the host stores, to be launched by digest."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.bodies import BINARY, read_body
from casemate.gateway.http.idempotency import KEY_RULE, Idempotency, IdempotencyKey
from casemate.gateway.http.openapi import created, operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import ImageDocument, ImagesDocument
from casemate.gateway.v1.enclaves import launcher_of
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.messages.host import ImageIs, PutImage
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse

MAX_UPLOAD = MAX_SGXS + 4096
"""Longest upload (bytes): the longest stream, a SIGSTRUCT and a name."""

ImageDigest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of SGXS stream and SIGSTRUCT, hex.")]

_STORE = (Code.BUSY, Code.UNAVAILABLE)


def image_routes(host: HostApi, idempotency: Idempotency) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/images", tags=["images"])
    upload = operation(
        "put_image",
        Role.DEPLOY,
        *_STORE,
        Code.LAUNCH_REFUSED,
        *KEY_RULE,
        body="An encoded `PutImage`: a name, an SGXS stream and its SIGSTRUCT.",
    )
    upload["responses"] |= created(ImageDocument, "The image is kept.")

    @routes.post("", status_code=201, response_model=None, **upload)
    async def put(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Keeps an image. The same bytes again are the same image. Needs a token of role `deploy` or above."""
        body = await read_body(request, media_type=BINARY, limit=MAX_UPLOAD)

        async def work() -> tuple[str, ImageDocument]:
            try:
                wanted = parse_message(body, PutImage)
                kept = await host.put_image(wanted, keeper=launcher_of(request.state.token))
            except WireError as error:
                raise refuse(Code.MALFORMED, str(error)) from None
            return f"/v1/images/{kept.image.hex()}", shown(kept)

        return await idempotency.once(request, idempotency_key, body, work)

    @routes.get("", **operation("list_images", Role.CALL, *_STORE))
    async def list_all() -> ImagesDocument:
        """All images that are kept. Needs a token of any role."""
        return ImagesDocument(images=[shown(image) for image in await host.images()])

    one = (Code.UNKNOWN_IMAGE, Trouble.REQUEST_REFUSED, *_STORE)

    @routes.get("/{image}", **operation("show_image", Role.CALL, *one))
    async def show(image: ImageDigest) -> ImageDocument:
        """One image. Needs a token of any role."""
        return shown(await host.image(bytes.fromhex(image)))

    @routes.delete("/{image}", status_code=204, **operation("remove_image", Role.DEPLOY, *one))
    async def remove(image: ImageDigest) -> None:
        """Forgets an image; one that enclaves need goes with the last of them.

        Needs a token of role `deploy` or above.
        """
        await host.remove_image(bytes.fromhex(image))

    return routes


def shown(image: ImageIs) -> ImageDocument:
    """An image as JSON."""
    return ImageDocument(
        image=image.image.hex(),
        name=image.name,
        size=image.size,
        mr_enclave=image.mr_enclave.hex(),
        mr_signer=image.mr_signer.hex(),
        isv_prod_id=image.isv_prod_id,
        isv_svn=image.isv_svn,
        debug=image.debug,
    )
