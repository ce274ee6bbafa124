"""Has image processes copied for their enclaves, and ends those that do what nobody has asked for.

An image process is hostile once it has its program. So a copy counts if the kernel says that it is a child of the
spawner's, in the session of that image process, and new. Where the answer is another, or comes late, or where there is
a process in that session that nobody has asked for, the image process and all its copies are ended.
"""

import selectors
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from casemate.spawner.enclave_process import EnclaveGuest, EnclaveProcess
from casemate.spawner.guest_process import GuestProcess, GuestProcessState
from casemate.spawner.image_process import CopyInTheMaking, CopyProcess, ImageProcess, copy_of
from casemate.spawner.kernel_word import is_child, is_in_session, read_report, strangers, threads_of
from casemate.spawner.watchdog import Gone
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.faults import Code

_ENDED = "the process that this guest is a copy of was ended"


@dataclass(frozen=True, slots=True)
class Image:
    """An image process that an enclave has."""

    enclave: EnclaveProcess
    owned: EnclaveGuest
    process: ImageProcess


@dataclass(frozen=True, slots=True)
class Does:
    """What the spawner's loop does for this module."""

    give: Callable[[EnclaveProcess, int, GuestProcess], None]
    """Gives an enclave a guest, under its number for it."""
    refuse: Callable[[EnclaveProcess, int, str], None]
    """Refuses an enclave a guest, and says why."""
    end: Callable[[EnclaveGuest, Gone], None]
    """Kills a guest of an enclave's."""
    drop: Callable[[GuestProcess], None]
    """Kills a process that no enclave has."""
    known: Callable[[], AbstractSet[int]]
    """The pids of all children that somebody has asked for."""


class Copies:
    """The copies of all image processes that enclaves have.

    Args:
        selector: the loop's.
        does: the loop's part.
    """

    def __init__(self, selector: selectors.BaseSelector, does: Does) -> None:
        self._selector = selector
        self._does = does

    def want(self, image: Image, guest: int, now: float) -> None:
        """An enclave wants a copy; it is told of it, or of why there is none, later."""
        image.process.wanted.append(guest)
        self._make_next(image, now)

    def count(self, images: Iterable[ImageProcess]) -> int:
        """How many copies are wanted or in the making."""
        return sum(len(image.wanted) + (image.making is not None) for image in images)

    def give_up(self, image: Image, guest: int) -> bool:
        """An enclave wants a copy no more; whether it was waiting for it."""
        process = image.process
        if guest in process.wanted:
            process.wanted.remove(guest)
            return True
        if process.making is not None and process.making.guest == guest and not process.making.is_given_up:
            process.making.is_given_up = True
            return True
        return False

    def look(self, images: Iterable[Image], now: float) -> None:
        """Ends each image process whose copy is late, or which has made a process that nobody has asked for."""
        due = []
        for image in images:
            if image.process.state is not GuestProcessState.GIVEN:
                continue
            making = image.process.making
            if making is not None and now >= making.due:
                self.hear(image, now)
                if image.process.making is making:
                    self._misbehaved(image, "did not copy itself in time")
            elif now >= image.process.look_at:
                due.append(image)
        if not due:
            return
        unknown = strangers(self._does.known())
        for image in due:
            process = image.process
            process.look_again(now)
            expected = process.making is not None
            if sum(is_in_session(pid, process.pid) for pid in unknown) > expected:
                self._misbehaved(image, "started a process of its own")

    @staticmethod
    def due(image: ImageProcess) -> float:
        """When to :meth:`look` next."""
        if image.state is not GuestProcessState.GIVEN:
            return float("inf")
        return image.look_at if image.making is None else min(image.look_at, image.making.due)

    def hear(self, image: Image, now: float) -> None:
        """Takes the report of a copy, if one has come."""
        process, making = image.process, image.process.making
        if making is None or process.state is not GuestProcessState.GIVEN:
            return
        try:
            pid, _ = read_report(making.report)
        except BlockingIOError:
            return
        self._selector.unregister(making.report)
        making.report.close()
        process.making = None
        if image.owned.watchdog is not None:
            image.owned.watchdog.unwatch(now)  # what it has computed was asked for
        if not pid:
            making.close()
            self._refuse(image, making, "the process to be copied made none: it has no room for one more")
        elif pid in self._does.known() or not is_child(pid) or not is_in_session(pid, process.pid):
            making.close()
            self._refuse(image, making, _ENDED)
            self._misbehaved(image, f"passed process {pid} off as its copy")
            return
        else:
            self._came(image, making, copy_of(process, making, pid))
        self._make_next(image, now)

    def ended(self, image: Image, copies: Iterable[EnclaveGuest]) -> None:
        """An image process is about to be reaped: all of its session are killed, while its number is still its own."""
        process = image.process
        process.kill_all()
        if process.making is not None:
            self._selector.unregister(process.making.report)
            self._refuse(image, process.making, _ENDED)
            process.making.close()
            process.making = None
        while process.wanted:
            self._does.refuse(image.enclave, process.wanted.popleft(), _ENDED)
        for owned in copies:
            if isinstance(owned.process, CopyProcess) and owned.process.image is process:
                self._does.end(owned, Gone(Code.GUEST_CRASHED, _ENDED))

    def _make_next(self, image: Image, now: float) -> None:
        process = image.process
        if process.wanted and not process.is_copied and threads_of(process.pid) > 1:
            self._misbehaved(image, "started a thread while it was loaded, which no copy would have")
        while process.wanted and process.making is None:
            guest = process.wanted[0]
            if process.state is not GuestProcessState.GIVEN:
                process.wanted.popleft()
                self._does.refuse(image.enclave, guest, _ENDED)
                continue
            try:
                making = process.ask_for_copy(now)
            except OSError as error:
                self._does.refuse(image.enclave, guest, f"no copy of a loaded program: {os_error_text(error)}")
                continue
            self._selector.register(making.report, selectors.EVENT_READ, lambda: self.hear(image, time.monotonic()))

    def _came(self, image: Image, making: CopyInTheMaking, copy: CopyProcess) -> None:
        if making.is_given_up:
            self._does.drop(copy)
        else:
            self._does.give(image.enclave, making.guest, copy)

    def _refuse(self, image: Image, making: CopyInTheMaking, reason: str) -> None:
        if not making.is_given_up:  # else that was told
            self._does.refuse(image.enclave, making.guest, reason)

    def _misbehaved(self, image: Image, what: str) -> None:
        """Ends an image process and all its copies; the rest follows when it is reaped."""
        self._does.end(image.owned, Gone(Code.GUEST_CRASHED, f"the program {what}"))
