"""Requests over a host's Unix socket, as numbered frames."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TypeVar

from casemate.client.errors import NoHostError, NotOfferedError, host_refusal
from casemate.client.transport import GetMachine, seconds_for
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller, answer_of
from casemate.link.channel import Channel, enlarge_send_buffer
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.numbered_frames import NEWS, numbered, split
from casemate.process.ownership import PlaceError, check_own_socket, check_peer, connected
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.messages.request import Request, answer_type
from casemate.wire.protocol.faults import FaultError

A = TypeVar("A")


class UnixTransport:
    """One request at a time. A time-out closes the connection: the late answer could pass for the next one's."""

    keeps_order = True

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = NEWS
        self._gone: str | None = None

    @classmethod
    def connect(cls, path: Path | str) -> "UnixTransport":
        """The connection to the host that listens at ``path``.

        Raises:
            NoHostError: nobody does.
            PlaceError: the socket is another user's, or could be exchanged by one.
        """
        try:
            sock = connected(Path(path))
        except OSError as error:
            raise NoHostError(f"no host at {path}: {os_error_text(error)}") from None
        enlarge_send_buffer(sock)
        return cls(Channel(sock))

    def close(self) -> None:
        """Hangs up."""
        self._gone = self._gone or "this client is closed"
        self._channel.close()

    def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer."""
        if self._gone is not None:
            raise PeerGoneError(self._gone)
        _check_offered(request)
        seconds = seconds_for(request, timeout)
        self._last += 1
        try:
            self._channel.send(numbered(self._last, request), timeout=seconds)
            number, message = split(self._receive(seconds))
            if number != self._last:
                raise WireError("number of an answer", got=number, want=self._last)
            return answer_of(message, answer_type(type(request)))
        except FaultError as error:
            raise host_refusal(error.fault) from None
        except (PeerGoneError, TimedOutError, WireError) as error:
            self._gone = f"the connection broke: {error}"
            self._channel.close()
            raise

    def _receive(self, timeout: float) -> bytes:
        frame = self._channel.receive(timeout=timeout)
        for (
            descriptor
        ) in frame.descriptors:  # hosts send no descriptors; a hostile one's would fill this process's table
            os.close(descriptor)
        return frame.payload


class AsyncUnixTransport:
    """Many requests under way; they arrive in the order in which they were asked."""

    keeps_order = True

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._caller = Caller(channel)
        self._listening = asyncio.create_task(self._caller.run())

    @classmethod
    async def connect(cls, path: Path | str) -> "AsyncUnixTransport":
        """The connection to the host that listens at ``path``.

        Raises:
            NoHostError: nobody does.
            PlaceError: the socket is another user's, or could be exchanged by one.
        """
        place = Path(path)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(0)
        try:
            check_own_socket(place)
            await asyncio.get_running_loop().sock_connect(sock, os.fspath(path))
            check_peer(sock, place)
        except PlaceError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise NoHostError(f"no host at {path}: {os_error_text(error)}") from None
        enlarge_send_buffer(sock)
        return cls(AsyncChannel(sock))

    async def close(self) -> None:
        """Hangs up; requests under way fail."""
        self._channel.close()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening

    async def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer."""
        _check_offered(request)
        wanted, seconds = answer_type(type(request)), seconds_for(request, timeout)
        try:
            answer, descriptors = await self._caller.call(request, wanted, timeout=seconds)
        except FaultError as error:
            raise host_refusal(error.fault) from None
        for descriptor in descriptors:
            os.close(descriptor)
        return answer


def _check_offered(request: Request[A]) -> None:
    if isinstance(request, GetMachine):
        raise NotOfferedError("a host's socket does not describe its machine: casemate.client.local has the supervisor")
