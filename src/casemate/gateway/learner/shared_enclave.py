"""The learner's enclave: one for all, launched when it is first used."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.problems import FunctionProblemError
from casemate.process.plain_file import read_plain
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.messages.host import EnclaveIs, Launch
from casemate.wire.protocol.call import MAX_OUTPUT, Refusal
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.lifecycle import State

NAME = "learner"
"""The image's files in the learner's folder, and the enclave's name."""

PATIENCE = 5.0
"""How long the first use waits for its file (seconds): `casemate up` builds them once the machine is ready."""

_PAUSE = 0.1
_SIGSTRUCT_SIZE = 1808
T = TypeVar("T")


class SharedEnclave:
    """The enclave that runs the image which `casemate up` puts into ``folder``."""

    def __init__(self, host: HostApi, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._turn = asyncio.Lock()
        self._number: int | None = None

    async def enclave(self) -> EnclaveIs:
        """The running enclave. It is launched anew if it died, and left alone if somebody stopped it.

        Raises:
            FaultError: there is no image, or it cannot be launched.
        """
        if (found := self._running()) is not None:
            return found
        async with self._turn:
            if (found := self._running()) is not None:
                return found
            if (known := self._known()) is not None:
                if known.state is not State.LOST:
                    raise refuse(Code.WRONG_STATE, f"the learner's enclave {known.enclave} is {known.state}; start it")
                await self._host.destroy(known.enclave)
            launched = await self._host.launch(await waited_for(lambda: _read(self._folder)))
            self._number = launched.enclave
            return self._host.enclave(launched.enclave)

    async def named(self, which: int | str | None) -> EnclaveIs:
        """The enclave of that number, or the one that answers to that name; without either, the learner's own."""
        if which is None:
            return await self.enclave()
        return self._host.enclave(which) if isinstance(which, int) else self._host.function(which).current

    async def output(self, visit: ActiveRequest, enclave: EnclaveIs, entry: str, arguments: Any) -> bytes:
        """The JSON that an entry point returns to a call in the clear."""
        output = await self._call(visit, enclave, entry, arguments)
        with its_result():
            parse_json("result", output, limit=MAX_OUTPUT)
        return output

    async def members(self, visit: ActiveRequest, enclave: EnclaveIs, entry: str, arguments: Any) -> JsonObject:
        """The JSON object that an entry point returns to a call in the clear."""
        output = await self._call(visit, enclave, entry, arguments)
        with its_result():
            return parse_object(f"result of {entry}", output, limit=MAX_OUTPUT)

    async def _call(self, visit: ActiveRequest, enclave: EnclaveIs, entry: str, arguments: Any) -> bytes:
        with visit.that_may_end():
            said = await self._host.plain_call(enclave.enclave, entry, encode_json(arguments))
        if isinstance(said, Refusal):
            with its_result():
                details = parse_json("details", said.details, limit=MAX_OUTPUT)
            raise FunctionProblemError({"code": said.code, "reason": said.reason, "details": details})
        return said

    def _running(self) -> EnclaveIs | None:
        known = self._known()
        return known if known is not None and known.state is State.RUNNING else None

    def _known(self) -> EnclaveIs | None:
        """The enclave that was launched here, or None if it has been destroyed."""
        try:
            return None if self._number is None else self._host.enclave(self._number)
        except FaultError:
            return None


async def waited_for(read: Callable[[], T]) -> T:
    """Runs ``read`` in a thread, with retries for a while: the file appears shortly after the machine's start.

    Raises:
        FaultError: it has raised one to the last.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await asyncio.to_thread(read)
        except FaultError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(_PAUSE)


@contextmanager
def its_result() -> Iterator[None]:
    """A context manager: what is malformed inside is the fault of the enclave or its host, not of the client."""
    try:
        yield
    except WireError as error:
        raise refuse(Code.RESULT_REFUSED, str(error)) from None


def _read(folder: Path) -> Launch:
    try:
        sgxs = read_plain(folder / f"{NAME}.sgxs", MAX_SGXS + 1)
        sigstruct = read_plain(folder / f"{NAME}.sigstruct", _SIGSTRUCT_SIZE + 1)
    except OSError as error:
        raise refuse(
            Code.UNAVAILABLE, f"the learner's image is not there ({os_error_text(error)}): `casemate up` puts it there"
        ) from None
    return Launch(NAME, sgxs, sigstruct, temporary=True)
