"""An image process: a confined copy of the base that loads one program, and of which each guest is a copy.

Until it has read its program it runs trusted code alone, and its report about its layers counts. After that it is
hostile: modules have run in it. It then has the filter ``IMAGE``, the socket on which the spawner asks it for copies,
and nothing else; whatever it answers, the spawner believes the kernel.
"""

import gc
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from casemate.sandbox.confinement import NoGroup
from casemate.sandbox.python_confinement import ConfinedBase, confine_image
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages.zygote import ImageReport, MakeImage
from casemate.zygote.bootstrap import Bootstrap
from casemate.zygote.cloning import clone_sibling
from casemate.zygote.descriptors import close_others, take_standard
from casemate.zygote.guest import live_as_guest
from casemate.zygote.packets import receive


def live_as_image(
    base: ConfinedBase, bootstrap: Bootstrap, request: MakeImage, descriptors: Sequence[int], parent: int
) -> NoReturn:
    """The life of a fresh copy of the base.

    Args:
        base: the confinement that it inherits.
        bootstrap: loads the program.
        request: says how large its guests are, and whether there is a control group.
        descriptors: those that come with ``MakeImage``.
        parent: the spawner's pid.
    """
    try:
        reading, writing, errors, control, report, *groups = descriptors
        take_standard(errors)
        close_others({0, 1, 2, reading, writing, control, report, *groups})
        if _confined(base, request, groups, report, parent):
            program = bootstrap.load(reading, writing)  # hostile from here on
            # Its pipes stay open: when they close, the enclave takes it for dead.
            _serve(
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=control),
                base,
                bootstrap,
                program,
                parent,
            )
    finally:
        os._exit(1)  # with no words: after the program is loaded they would be its own


def _confined(base: ConfinedBase, request: MakeImage, groups: Sequence[int], report: int, parent: int) -> bool:
    """Confines this process and reports it; whether that went well."""
    try:
        entering = groups or NoGroup(request.no_group or "its files cannot be opened")
        said = ImageReport(confine_image(base, request.memory_mib, entering, parent=parent), "")
    except (CasemateError, OSError) as error:
        said = ImageReport((), str(error))
    os.write(report, encode_message(said))
    os.close(report)
    return not said.refusal


def _serve(control: socket.socket, base: ConfinedBase, bootstrap: Bootstrap, program: object, parent: int) -> None:
    """Makes a copy whenever the spawner asks for one, until it closes the socket."""
    gc.collect()
    gc.freeze()
    while True:
        payload, descriptors = receive(control)
        if not payload:
            return
        if clone_sibling():
            control.close()
            live_as_guest(base, bootstrap, program, descriptors, parent)
        for descriptor in descriptors:
            os.close(descriptor)
