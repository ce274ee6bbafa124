"""``runtime-digest``: what images are locked to on this computer."""

import json
import sys

from casemate.chip.common_interpreters import common_cores
from casemate.chip.errors import RuntimeCopyError
from casemate.chip.runtime import this_platform
from casemate.chip.runtime_copy import cache_root, hash_copy, prepare_runtime
from casemate.chip.runtime_digest import measure
from casemate.chip.runtime_sources import runtime_sources
from casemate.wire.errors import MissingExtraError


def print_runtime_digest() -> int:
    """Prints what images are locked to, as one JSON object; 1 and a reason on standard error where it cannot be told.

    That is platform, digests and place of the runtime, what the core's digest is over, and the digests of the core that
    common interpreters have with this Casemate and these packages.
    """
    try:
        copy = prepare_runtime(runtime_sources(), cache_root())
        groups = measure(hash_copy(copy.directory)).core_groups
    except (MissingExtraError, RuntimeCopyError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    said = {
        "platform": this_platform(),
        "runtime": {part.component: part.digest.hex() for part in copy.parts},
        "copy": str(copy.directory),
        "core_groups": {group: digest.hex() for group, digest in groups.items()},
        "common": {name: core.hex() for name, core in common_cores(this_platform(), groups).items()},
    }
    sys.stdout.write(json.dumps(said) + "\n")
    return 0
