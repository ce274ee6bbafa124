"""A conversation with a guest that nothing confines, frame by frame, whatever its engine."""

import json
import os
from abc import ABC, abstractmethod
from typing import Any

from casemate.engines.conversation import Conversation
from casemate.engines.frames import Printed, Returned, Said


class EngineTalk(ABC):
    """The guest's two pipes, and what has been said over them."""

    talk: Conversation

    def __init__(self) -> None:
        self.printed: list[str] = []

    @abstractmethod
    def send(self, payload: bytes) -> None:
        """Writes a frame."""

    @abstractmethod
    def receive(self) -> bytes:
        """The next frame's payload, which is waited for; nothing where the guest has closed its pipe."""

    def hear(self) -> Said:
        while isinstance(said := self.talk.heard(self.receive()), Printed):
            self.printed.append(said.text)
        return said

    def say(self, payload: bytes) -> Said:
        self.send(payload)
        return self.hear()

    def call(self, argument: Any = None, entry: str = "main", caller: Any = None) -> Said:
        return self.say(self.talk.call(entry, json.dumps(argument).encode(), caller, number=os.urandom(8)))

    def value(self, argument: Any = None, caller: Any = None) -> Any:
        said = self.call(argument, caller=caller)
        assert isinstance(said, Returned), said
        return json.loads(said.text)

    def ended(self) -> bool:
        """Whether the guest has closed its pipe, which is waited for."""
        return self.receive() == b""
