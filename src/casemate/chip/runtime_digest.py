"""The digests of the runtime that this interpreter's enclaves run on, for `casemate build`."""

import json
import sys

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.runtime_copy import cache_root, prepare_runtime
from casemate.chip.runtime_platform import this_platform
from casemate.chip.runtime_sources import runtime_sources
from casemate.wire.errors import MissingExtraError


def print_runtime_digest() -> int:
    """Prints platform, digests and place as one JSON object; 1 and a reason on standard error where there are none."""
    try:
        copy = prepare_runtime(runtime_sources(), cache_root())
    except (MissingExtraError, RuntimeCopyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    digests = {part.component: part.digest.hex() for part in copy.parts}
    sys.stdout.write(json.dumps({"platform": this_platform(), "runtime": digests, "copy": str(copy.directory)}) + "\n")
    return 0
