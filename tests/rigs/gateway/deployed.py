"""Images and VMs that stand on a gateway before a test begins."""

from typing import Any

import httpx
from tests.rigs.gateway.fake_vms import LAUNCH
from tests.rigs.gateway.front import image_of

from casemate.gateway.http.bodies import BINARY
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.host import PutImage
from casemate.wire.messages.vm.host import LaunchVm
from casemate.wire.protocol.call import CallBinding, Envelope

KIND = {"Content-Type": BINARY}
IMAGE = PutImage("counter", b"pages", bytes(1808))
DIGEST = image_of(IMAGE).image.hex()
ENVELOPE = Envelope(CallBinding(bytes(32), 7, 1, "search"), b"request")


async def deployed(client: Any, name: str | None = None) -> dict[str, Any]:
    """A running enclave."""
    await client.post("/v1/images", content=encode_message(IMAGE), headers=KIND)
    asked = {"image": DIGEST} | ({} if name is None else {"name": name})
    answer = await client.post("/v1/enclaves", json=asked)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def launched(client: httpx.AsyncClient, wanted: LaunchVm = LAUNCH, key: str | None = None) -> dict[str, Any]:
    headers = KIND if key is None else KIND | {"Idempotency-Key": key}
    answer = await client.post("/v1/vms", content=encode_message(wanted), headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/vms/{found['id']}"
    return found
