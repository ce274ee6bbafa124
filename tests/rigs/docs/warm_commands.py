"""`casemate` in a process that has imported everything before: each command is a fork of it.

A page types a dozen commands and more, and to start one takes longer than what it does. The ``casemate`` on the path of
a page's shell hands arguments, environment, folder and standard streams to :class:`WarmCommands`, whose fork runs the
entry point of the real command with them, and ends with its exit status.
"""

import gc
import importlib
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

STARTED = 60.0
"""Until the process has imported everything (seconds)."""
_SIZE = 1 << 20
_SHIM = """#!{python} -IS
import _socket, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
server.connect({path!r})
given = (f"{{name}}={{value}}" for name, value in os.environ.items())
text = "\\0".join([os.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:], *given])
streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
server.sendmsg([text.encode(errors="surrogateescape")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
status = server.recv(16)
sys.exit(int(status) if status else "the process that keeps casemate warm has ended")
"""


class WarmCommands:
    """Puts a ``casemate`` into a folder, for a shell's path; commands work as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "casemate.socket"

    def __enter__(self) -> Self:
        shim = self._folder / "casemate"
        shim.write_text(_SHIM.format(python=sys.executable, path=str(self._socket)))
        shim.chmod(0o755)
        self._process = subprocess.Popen([sys.executable, "-m", "tests.rigs.docs.warm_commands", self._socket])
        deadline = time.monotonic() + STARTED
        while not self._socket.exists():
            assert self._process.poll() is None, "the process that keeps casemate warm has ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()


def serve(path: str) -> None:
    for module in _modules():
        importlib.import_module(module)
    gc.freeze()  # forks share what is there now
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that have answered are nobody's to wait for
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        Path(f"{path}.new").rename(path)
        while True:
            caller, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(caller)
            caller.close()


def _modules() -> Iterator[str]:
    """What a command imports as it goes, too."""
    for package in ("casemate.cli", "casemate.client", "casemate.verifier"):
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        yield from (module.name for module in found)
    yield "rich.table"


def _answer(caller: socket.socket) -> None:
    """Runs one command in a fork of its own, so that the caller hears of its end however it ends."""
    text, streams, _, _ = socket.recv_fds(caller, _SIZE, 3)
    folder, count, *words = text.decode(errors="surrogateescape").split("\0")
    command = os.fork()
    if command:
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        caller.send(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    caller.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(dict(word.split("=", 1) for word in words[int(count) :]))
    sys.argv = ["casemate", *words[: int(count)]]
    from casemate.cli.main import main

    main()
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
