"""This machine's name in runtime locks."""

import os
import sys

from casemate.wire.protocol.runtime_lock import platform_tag


def this_platform() -> str:
    """Such as ``linux-x86_64-cp311``."""
    return platform_tag(sys.platform, os.uname().machine, sys.version_info[:2])
