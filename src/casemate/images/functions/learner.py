"""The image of the learner's form. Its sources ship with Casemate; it is built for the machine's own runtime."""

import tempfile
from importlib import resources
from pathlib import Path

from casemate.images.functions.build import build
from casemate.images.functions.starter import template_files
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.wire.protocol.image_index import LOCK_PATH
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.runtime_lock import Runtime, RuntimeLock, used


def learner_image(platform: str, runtime: Runtime, key: DeveloperKey) -> Image:
    """The image for one platform's runtime, signed with ``key``: the same bytes each time.

    Args:
        platform: the platform's tag, as in casemate.lock.
        runtime: that platform's; parts that the form does not use are left out.
        key: need not be protected: the image is for trying things out.
    """
    lock = RuntimeLock().with_runtime(platform, used(runtime, Engine.JAVASCRIPT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in template_files(resources.files("casemate.images.functions") / "learner_files"):
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
        (folder / LOCK_PATH).write_bytes(lock.encode())
        return build(folder, key, epoch=0)
