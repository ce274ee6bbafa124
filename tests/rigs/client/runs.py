"""One script of calls for both clients, the blocking one and the asynchronous one."""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from casemate.client import aio, sync
from casemate.images.image import Image
from casemate.wire.errors import CasemateError

IMAGE = Image("rig", b"sgxs", bytes(1808))
Steps = Generator[Any, Any, None]
Journey = Callable[[Any], Steps]
"""What is done with a client, of either kind: each call is yielded, and its result is sent back."""
Run = Callable[..., None]
"""Of a path or URL, a journey, and what else is wanted to connect."""


def run_sync(where: Path | str, journey: Journey, **wanted: Any) -> None:
    with sync.connect(where, **wanted) as client:
        steps = journey(client)
        with contextlib.suppress(StopIteration):
            value = next(steps)
            while True:
                value = steps.send(value)


def run_aio(where: Path | str, journey: Journey, **wanted: Any) -> None:
    async def run() -> None:
        async with await aio.connect(where, **wanted) as client:
            steps = journey(client)
            with contextlib.suppress(StopIteration):
                awaitable = next(steps)
                while True:
                    try:
                        value = await awaitable
                    except CasemateError as error:
                        awaitable = steps.throw(error)
                    else:
                        awaitable = steps.send(value)

    asyncio.run(run())
