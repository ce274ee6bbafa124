"""The base that Python guests come from, as the spawner knows it: executed when it is first needed, then it stays.

It runs no code but the runtime's and sees nobody's data, so the spawner trusts it to make image processes. See
:mod:`casemate.zygote.base`.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from enum import StrEnum

from casemate.link.channel import rights
from casemate.sandbox.errors import LayerRequiredError
from casemate.sandbox.python_confinement import check_requests
from casemate.spawner.confined_fork import Child, fork
from casemate.spawner.guest_process import START_TIME, StartError
from casemate.spawner.kernel_word import tells_children
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.zygote import MAX_PACKET, BaseReady, MakeImage, PrepareBase
from casemate.wire.protocol.sandbox_layers import Layer, LayerRequest

CONTROL = 3
"""Descriptor of the base's control socket."""

RETRY_DELAY = 5.0
"""Seconds before another base is started after one that died."""

_ARGUMENTS = ("-I", "-S", "-B", "-m", "casemate.zygote")
_LIBRARIES = "LD_LIBRARY_PATH"
_DONT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class BaseState(StrEnum):
    """The states of the base."""

    ABSENT = "absent"  # nobody has asked for a Python guest, or it died
    STARTING = "starting"
    READY = "ready"
    REFUSED = "refused"  # this machine cannot confine Python guests, now or later


class PythonBase:
    """The one base of a spawner.

    Args:
        python: the interpreter's path.
        requests: the layers that the machine's owner asks for.
    """

    def __init__(self, python: str, requests: tuple[LayerRequest, ...]) -> None:
        self._python = python
        self._requests = requests
        self.state = BaseState.ABSENT
        self.pid = 0
        """0 while it is absent."""
        self._since = 0.0
        self._died_at = -RETRY_DELAY
        self._control: socket.socket | None = None
        self._child: Child | None = None
        """Until it is gone. Its report says nothing: it confines itself later, as another program, and says so then."""
        self.refusal = ""
        """Why there can be no Python guest, if it is refused."""
        try:
            check_requests(requests)
        except LayerRequiredError as error:
            self._refuse(str(error))
            return
        if not tells_children():
            self._refuse(
                "Python guests need a kernel that lists a process's children in /proc (CONFIG_PROC_CHILDREN, or /proc "
                "itself is not mounted): without that list nobody finds a process that a guest's code has started"
            )

    def start(self, now: float) -> bool:
        """Executes it, if it is absent and has not just died; whether it is there now.

        Raises:
            OSError: the system has no room for it.
        """
        if self.state is not BaseState.ABSENT or now < self._died_at + RETRY_DELAY:
            return self.state in (BaseState.STARTING, BaseState.READY)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {"LC_CTYPE": "C.UTF-8", "TZ": "UTC"}
        if _LIBRARIES in os.environ:
            environment[_LIBRARIES] = os.environ[_LIBRARIES]

        def arrange(_: int) -> tuple[Layer, ...]:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.dup2(nowhere, 1)
            os.dup2(theirs.fileno(), CONTROL)
            os.chdir("/")  # whose name an interpreter keeps in its memory, which guests can read
            return ()

        def become_base(_: tuple[Layer, ...]) -> None:
            os.execve(self._python, (self._python, *_ARGUMENTS), environment)  # noqa: S606 - no shell, on purpose

        try:
            child = fork((theirs.fileno(),), arrange, become_base)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control, self._child, self._since, self.state = ours, child, now, BaseState.STARTING
        self.pid = child.pid
        ours.send(encode_message(PrepareBase(self._requests)), _DONT_WAIT)
        return True

    def fileno(self) -> int:
        """The control socket's descriptor; there is one from :meth:`start` to :meth:`bury`."""
        return -1 if self._control is None else self._control.fileno()

    @property
    def is_late(self) -> bool:
        """Whether it should have been ready by now."""
        return time.monotonic() >= self.due

    @property
    def due(self) -> float:
        """When it is late, on the monotonic clock."""
        return self._since + START_TIME if self.state is BaseState.STARTING else float("inf")

    def hear(self) -> None:
        """Takes its word that it is ready, or why it is not.

        Raises:
            StartError: it has ended, or says what it should not.
        """
        if self._control is None:
            return
        try:
            said = parse_message(self._control.recv(MAX_PACKET, _DONT_WAIT), BaseReady)
        except BlockingIOError:
            return
        except (OSError, WireError):
            raise StartError("the process that Python guests come from has ended") from None
        if self.state is not BaseState.STARTING:
            raise StartError("the process that Python guests come from spoke out of turn")
        if said.refusal:
            self._refuse(said.refusal)
            raise StartError(said.refusal)
        self.state = BaseState.READY

    def make_image(self, request: MakeImage, descriptors: Sequence[int]) -> None:
        """Has it fork an image process, which is given the descriptors of ``MakeImage``.

        Raises:
            StartError: it does not listen.
        """
        try:
            if self._control is None or self.state is not BaseState.READY:
                raise StartError("the process that Python guests come from is not there")
            self._control.sendmsg([encode_message(request)], rights(descriptors), _DONT_WAIT)
        except OSError:
            raise StartError("the process that Python guests come from does not listen") from None

    def kill(self) -> None:
        """Ends it; it is reaped later."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def bury(self, now: float) -> None:
        """It has been reaped."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._child is not None:
            os.close(self._child.report)
            self._child = None
        self.pid, self._died_at = 0, now
        if self.state is not BaseState.REFUSED:
            self.state = BaseState.ABSENT

    def _refuse(self, words: str) -> None:
        self.state, self.refusal = BaseState.REFUSED, words
