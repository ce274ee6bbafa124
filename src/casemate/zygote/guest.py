"""A guest: a copy of an image process that serves the calls of one caller, and then ends.

Nothing that it says is trusted: neither that it is confined, nor who it is. What holds for it whatever it does is the
confinement that the image process had before it read the program.
"""

import os
from collections.abc import Sequence
from typing import NoReturn

from casemate.sandbox.python_confinement import ConfinedBase, confine_copy
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.zygote import CopyReport
from casemate.zygote.bootstrap import Bootstrap
from casemate.zygote.descriptors import close_others, take_standard

_REPORT = encode_message(CopyReport())


def live_as_guest(
    base: ConfinedBase, bootstrap: Bootstrap, program: object, descriptors: Sequence[int], parent: int
) -> NoReturn:
    """The life of a fresh copy of an image process.

    Args:
        base: has the filter.
        bootstrap: serves the calls.
        program: what ``load`` gave.
        descriptors: those that come with ``MakeCopy``.
        parent: the spawner's pid.
    """
    try:
        reading, writing, errors, report = descriptors
        take_standard(errors)
        # Other copies have what the program opened while it was loaded, and must not be reached by it.
        close_others({0, 1, 2, reading, writing, report})
        confine_copy(base, parent=parent)
        os.write(report, _REPORT)
        os.close(report)
        bootstrap.serve(program, reading, writing)
    finally:
        os._exit(1)
