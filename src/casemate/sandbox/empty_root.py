"""An empty root: below it is nothing to open, to look at or to name, and nothing can ever be made there.

Landlock holds back who opens a file, not who asks whether there is one (stat, readlink, access).
"""

import os
import tempfile
from pathlib import Path

from casemate.sandbox.errors import UnavailableError
from casemate.wire.errors import os_error_text


def enter_empty_root() -> None:
    """Makes a folder that exists no more this process's root, for good; needs CAP_SYS_CHROOT, to be dropped after.

    No name can be made in a folder that has been removed, not even by its owner.
    """
    try:
        folder = tempfile.mkdtemp()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            Path(folder).rmdir()
            os.fchdir(descriptor)
            os.chroot(".")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(f"an empty root: {os_error_text(error)}") from None
