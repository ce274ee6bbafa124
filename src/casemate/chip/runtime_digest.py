"""The digest of the runtime that this interpreter's enclaves run on, for `casemate build`."""

import json
import sys

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.platform import this_platform
from casemate.chip.runtime_copy import cache_root, prepare_runtime
from casemate.chip.runtime_sources import runtime_sources


def print_runtime_digest() -> int:
    """Prints platform and digest as one JSON object; 1 and a reason on standard error where there is none."""
    try:
        copy = prepare_runtime(runtime_sources(), cache_root())
    except RuntimeCopyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"platform": this_platform(), "digest": copy.digest.hex()}) + "\n")
    return 0
