"""The conversation with one guest process over its two pipes, without waiting."""

import os
from collections.abc import Callable

from casemate.enclave.guest.pipes import FromGuest, ToGuest
from casemate.enclave.io.loop import Loop
from casemate.engines.command import GuestProgram
from casemate.engines.conversation import Conversation
from casemate.engines.errors import GuestMisbehavedError
from casemate.engines.frames import Said
from casemate.engines.registry import Engine

_MOST_FRAMES = 1
"""Most frames that are read ahead; each may be as long as the longest result."""


class GuestLine:
    """Sends and receives frames of one guest, each in its turn.

    Args:
        loop: serves the pipes from now on.
        descriptors: the pipe to write to and the one to read from; owned.
        engine: the guest's.
        program: loaded at once; or what the guest is a copy of has loaded it.
        is_copy: whether that is so.
        on_news: told that a frame has come, or that the guest will say nothing more.
    """

    def __init__(
        self,
        loop: Loop,
        descriptors: tuple[int, int],
        engine: Engine,
        program: GuestProgram,
        on_news: Callable[[], None],
        *,
        is_copy: bool,
    ) -> None:
        self._loop = loop
        self._descriptors = descriptors
        self._on_news = on_news
        self._talk = Conversation(engine)
        load = None
        if is_copy:
            self._talk.inherit(program)
        else:
            load = self._talk.load(program)
        self._to = ToGuest(loop, descriptors[0], on_end=self._deaf)
        self._from = FromGuest(
            loop,
            descriptors[1],
            limit=self._talk.frame_limit,
            most=_MOST_FRAMES,
            on_frames=on_news,
            on_end=self._silent,
        )
        self.ended = False
        """Whether the guest will say nothing more; what it said before can still be heard."""
        self._is_deaf = False
        loop.watch(self._to)
        loop.watch(self._from)
        if load is not None:
            self._to.send(load)

    @property
    def talk(self) -> Conversation:
        """What makes frames to :meth:`say`."""
        return self._talk

    @property
    def spoke(self) -> bool:
        """Whether a frame waits to be taken."""
        return bool(self._from.incoming)

    def say(self, payload: bytes) -> None:
        """Sends a frame as fast as the guest reads. One that has stopped reading is noticed by its silence."""
        if not self._is_deaf:
            self._to.send(payload)

    def hear(self) -> Said:
        """The next frame of the guest's; :class:`GuestMisbehavedError` if it may not come now.

        A guest speaks when it has read all that it was told. One that asks and asks, and reads no answer, would have
        this process keep them.
        """
        if self._to.is_behind:
            raise GuestMisbehavedError("the guest spoke before it had read what it was told")
        return self._talk.heard(self._from.take())

    def look(self) -> None:
        """Takes what has come already, and tells of it."""
        if not self.ended and not self.spoke:
            self._from.ready(0)
        elif self.spoke:
            self._on_news()

    def close(self) -> None:
        """Closes both pipes."""
        self._deaf()
        self._end()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _deaf(self) -> None:
        self._is_deaf = True
        self._loop.forget(self._to.fileno())

    def _silent(self) -> None:
        self._end()
        self._on_news()

    def _end(self) -> None:
        self.ended = True
        self._loop.forget(self._from.fileno())
