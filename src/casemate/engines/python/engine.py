"""Python on the runtime's own CPython: each guest is a copy, by fork, of a process that has loaded the program.

Python code has no wall of its own: whatever runs in the process can reach all of it, the bootstrap included. So the
kernel is the wall. The processes and their confinement are the room ``zygote``'s; here are the frames.
"""

from typing import Final

from casemate.engines.command import GuestProgram
from casemate.engines.frames import head_and_text
from casemate.engines.questions.seals import MAX_SEALED_TEXT
from casemate.engines.questions.state import MAX_LISTED
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE


class Python:
    """The engine named ``python`` in manifests."""

    name: Final = "python"
    copies_guests: Final = True
    tells_where: Final = True
    newcomers: Final = 120.0
    """A copy, its confinement and its end take some 5 ms of the processors."""

    def program(self, program: GuestProgram) -> bytes:
        """All files one after another, and a head that says where each ends. Modules find each other by name."""
        head = {
            "files": [{"path": module.path, "size": len(module.source)} for module in program.modules],
            "entries": list(program.entries),
            "streams": list(program.streams),
            "permissions": sorted(program.permissions),
            "errors": list(program.errors),
            "debug": program.debug,
            "outputLimit": program.output_limit,
            "ocallLimit": program.ocall_limit,
            "valueLimit": MAX_VALUE,
            "keyLimit": MAX_KEY,
            "sealedLimit": MAX_SEALED_TEXT,
            "listLimit": MAX_LISTED,
        }
        return head_and_text(head, b"".join(module.source for module in program.modules))
