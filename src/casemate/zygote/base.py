"""The base: a process that has loaded what programs may import, and of which each image process is a copy.

It trusts the spawner, whose socket is all that it listens to, and runs no code but the runtime's. It never sees a byte
of an image or of a caller, so a copy finds nothing of anybody's in its memory. It is executed, not forked, so neither
its layout nor its hash seed is that of an enclave.
"""

import gc
import os
import signal
import socket

from casemate.process.hardening import die_with_parent, forbid_dumps
from casemate.process.memory import trim_heap
from casemate.sandbox.errors import LayerRequiredError
from casemate.sandbox.python_confinement import ConfinedBase, confine_base
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages.zygote import BaseReady, MakeImage, PrepareBase
from casemate.zygote.bootstrap import Bootstrap, import_bootstrap
from casemate.zygote.cloning import clone_sibling
from casemate.zygote.image import live_as_image
from casemate.zygote.packets import receive

CONTROL = 3
"""Descriptor of the spawner's socket. Besides it the process has the three standard ones, which lead nowhere."""

_THREADS = "/proc/self/task"


class NotSingleError(CasemateError):
    """Something that was imported has started a thread, which no copy would have."""


def run_process() -> None:
    """The process: bound to its spawner's life; ends when the spawner closes the socket."""
    parent = os.getppid()
    die_with_parent(parent)
    forbid_dumps()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=CONTROL)
    payload, _ = receive(control)
    if not payload:
        return
    bootstrap = import_bootstrap()
    try:
        base = _get_ready(parse_message(payload, PrepareBase), bootstrap, parent)
    except (LayerRequiredError, NotSingleError) as error:
        control.send(encode_message(BaseReady(str(error))))
        return
    control.send(encode_message(BaseReady("")))
    _serve(control, base, bootstrap, parent)


def _get_ready(request: PrepareBase, bootstrap: Bootstrap, parent: int) -> ConfinedBase:
    bootstrap.prepare()
    gc.collect()
    trim_heap()
    gc.freeze()  # a collection would write to each object, and so copy each page that processes share
    if len(os.listdir(_THREADS)) != 1:  # noqa: PTH208
        raise NotSingleError("what Python guests are given to import has started a thread")
    return confine_base(request.layers, parent=parent)


def _serve(control: socket.socket, base: ConfinedBase, bootstrap: Bootstrap, parent: int) -> None:
    while True:
        payload, descriptors = receive(control)
        if not payload:
            return
        request = parse_message(payload, MakeImage)
        try:
            if clone_sibling():
                live_as_image(base, bootstrap, request, descriptors, parent)
        except OSError:  # no room for one more, as the spawner sees: nobody holds the report socket
            pass
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
