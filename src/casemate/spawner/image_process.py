"""An image process and its copies, as the spawner knows them.

Until an image process is given to an enclave it runs trusted code. From then on it is hostile, and so are its copies:
the spawner believes the kernel about which processes there are, and ends them all where there is one too many.
"""

import contextlib
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from casemate.link.channel import rights
from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import NoGroup, modes_of
from casemate.sandbox.probe import find_group
from casemate.sandbox.python_confinement import MIB, OVERHEAD_MIB
from casemate.spawner.confined_fork import Confined
from casemate.spawner.guest_process import BASE_MIB, GuestProcess, GuestProcessState, StartError, guest_pipes
from casemate.spawner.kernel_word import is_child, read_report, report_socket
from casemate.spawner.python_base import PythonBase
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.spawner import MAX_GUESTS
from casemate.wire.messages.zygote import ImageReport, MakeCopy, MakeImage
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest

COPY_TIME = 2.0
"""Seconds within which a copy must be there: it takes 2 ms, and a busy machine."""

LOOK_LOADING = 0.025
"""Seconds between looks for processes that nobody asked for, while an image process loads its program."""

LOOK_LATER = 0.2
"""Seconds between these looks later on. Without a user id of its own nothing but this ends an image process that forks
and forks: in a second it made eighty."""

_SPARE = 8
"""Processes of a control group beside an enclave's guests: those that are dead and not reaped."""

_DONT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


@dataclass(slots=True, eq=False)
class CopyInTheMaking:
    """A copy that an image process has been asked for and that has not reported."""

    guest: int
    """The enclave's number for it."""
    to_guest: int
    """The spawner's ends of its pipes, as of a guest's."""
    from_guest: int
    last_words: int
    report: socket.socket
    due: float
    """When it must be there, on the monotonic clock."""
    is_given_up: bool = False
    """The enclave wants it no more."""

    def close(self) -> None:
        """It does not come: closes all that was its."""
        self.report.close()
        for descriptor in (self.to_guest, self.from_guest, self.last_words):
            os.close(descriptor)


@dataclass(slots=True, eq=False)
class ImageProcess(GuestProcess):
    """A process that is given one program, and is copied.

    Its pid is 0 until the kernel has told it. It leads a session and a process group, in which all its copies stay:
    they are ended by that group as long as it is not reaped itself, for so long the group's number is no other's.
    """

    control: socket.socket | None = None
    """Where it is asked for copies."""
    report: socket.socket | None = None
    """Where it says, once, that it is confined."""
    wanted: deque[int] = field(default_factory=deque)
    """The enclave's numbers of copies that are asked for and not begun; one is made at a time."""
    making: CopyInTheMaking | None = None
    is_copied: bool = False
    """Whether a copy has been asked for: its program is loaded."""
    look_at: float = 0.0
    """When to look for processes that nobody has asked for."""
    refused: str = ""
    """Why it is not confined."""

    def hear_report(self) -> bool:
        """Takes its report, if it has come; whether anything is known now. It then has a pid, unless it died before."""
        if self.report is None:
            return True
        try:
            pid, said = read_report(self.report)
        except BlockingIOError:
            return False
        self.report.close()
        self.report = None
        if pid and is_child(pid):
            self.pid = pid
        try:
            told = parse_message(said, ImageReport) if pid else ImageReport((), "the process ended at once")
        except WireError:
            told = ImageReport((), "the process made no sense")
        self.layers, self.refused = told.layers, told.refusal
        return True

    def ask_for_copy(self, now: float) -> CopyInTheMaking:
        """Asks for the next copy that is wanted.

        Raises:
            OSError: the system has no room for it, or the process does not listen.
        """
        guest = self.wanted.popleft()
        to_guest, from_guest, last_words = guest_pipes()
        theirs = [to_guest[0], from_guest[1], last_words[1]]
        ours = (to_guest[1], from_guest[0], last_words[0])
        try:
            report, writing = report_socket()
        except OSError:
            for descriptor in (*ours, *theirs):
                os.close(descriptor)
            raise
        making = CopyInTheMaking(guest, *ours, report, now + COPY_TIME)
        try:
            with writing:
                if self.control is None:
                    raise BrokenPipeError
                packet = encode_message(MakeCopy())
                self.control.sendmsg([packet], rights((*theirs, writing.fileno())), _DONT_WAIT)
        except OSError:
            making.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.making, self.is_copied = making, True
        return making

    def look_again(self, now: float) -> None:
        """Sets the time of the next look for processes that nobody has asked for."""
        self.look_at = now + (LOOK_LATER if self.is_copied else LOOK_LOADING)

    def kill_all(self) -> None:
        """Ends it and all its copies, those that nobody has asked for included; it must not be reaped yet."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # at once, so that none can fork meanwhile

    def kill(self) -> None:
        """Ends it and all its copies; they are reaped later."""
        self.become(GuestProcessState.DYING)
        self.kill_all()

    def bury(self) -> bytes:
        """Closes all that it had."""
        for sock in (self.control, self.report):
            if sock is not None:
                sock.close()
        self.control = self.report = None
        if self.making is not None:
            self.making.close()
            self.making = None
        return GuestProcess.bury(self)

    def _confined_layers(self) -> tuple[Layer, ...]:
        """What it has reported; it did so before it said that it is warm."""
        self.hear_report()
        if not self.pid or self.refused:
            raise StartError(self.refusal())
        return self.layers

    def _report(self) -> Confined:
        self.hear_report()
        return Confined(self.layers, self.refused)


@dataclass(slots=True, eq=False)
class CopyProcess(GuestProcess):
    """A copy of an image process."""

    image: ImageProcess | None = None

    def interrupt(self) -> None:
        if self.state is GuestProcessState.GIVEN:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGALRM)


def copy_of(image: ImageProcess, making: CopyInTheMaking, pid: int) -> CopyProcess:
    """The copy that has come, which may be given to the enclave. Its layers are those that its image process had."""
    return CopyProcess(
        pid=pid,
        memory_mib=image.memory_mib,
        to_guest=making.to_guest,
        from_guest=making.from_guest,
        last_words=making.last_words,
        group=NoGroup("the group of its image process"),
        child=None,
        since=time.monotonic(),
        state=GuestProcessState.WARM,
        layers=image.layers,
        image=image,
    )


@dataclass(frozen=True, slots=True)
class ImageFactory:
    """Has the base make image processes."""

    base: PythonBase
    requests: tuple[LayerRequest, ...]

    def start(self, memory_mib: int, number: int) -> ImageProcess:
        """An image process in the making. Once it is warm it says so on its pipe.

        Raises:
            OSError: the system has no room for one more.
            StartError: the base does not listen.
        """
        to_guest, from_guest, last_words = guest_pipes()
        ours = (to_guest[1], from_guest[0], last_words[0])
        pipes = (to_guest[0], from_guest[1], last_words[1])
        group = self._group(memory_mib, number)
        files = [] if isinstance(group, NoGroup) else _files_of(group)
        control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        report, their_report = report_socket()
        image = ImageProcess(
            pid=0,
            memory_mib=memory_mib,
            to_guest=ours[0],
            from_guest=ours[1],
            last_words=ours[2],
            group=group,
            child=None,
            since=time.monotonic(),
            control=control,
            report=report,
        )
        try:
            with their_control, their_report:
                request = MakeImage(memory_mib, group.reason if isinstance(group, NoGroup) else "")
                self.base.make_image(request, (*pipes, their_control.fileno(), their_report.fileno(), *files))
        except StartError:
            image.bury()
            if isinstance(group, Group):
                group.remove()
            raise
        finally:
            for descriptor in (*pipes, *files):
                os.close(descriptor)
        return image

    def _group(self, memory_mib: int, number: int) -> Group | NoGroup:
        """One group for all copies: each is bounded by its own limits, and all together by this."""
        if modes_of(self.requests)[LayerName.CGROUP] is LayerMode.OFF:
            return NoGroup("off")
        ceiling = (BASE_MIB + (memory_mib + OVERHEAD_MIB) * MAX_GUESTS) * MIB
        return find_group(f"casemate-{os.getpid()}-{number}", memory=ceiling, threads=MAX_GUESTS + _SPARE)


def _files_of(group: Group) -> list[int]:
    """The files by which a process enters a group, open for it: it can open none by itself."""
    files: list[int] = []
    with contextlib.suppress(OSError):
        for folder in dict.fromkeys((group.places.memory, group.places.pids)):
            files.append(os.open(folder / group.name / "cgroup.procs", os.O_WRONLY))  # noqa: PERF401
    return files
