"""The learner's image: it builds, and the same each time. What it computes, the whole machine's tests say."""

from casemate.images.functions.learner import learner_image
from casemate.images.keys import DeveloperKey
from casemate.wire.protocol.manifest import ANYONE
from casemate.wire.protocol.runtime_lock import Runtime, RuntimePart

PLATFORM = "linux-x86_64-cp311"


def runtime(core: int) -> Runtime:
    return RuntimePart("core", bytes([core]) * 32), RuntimePart("javascript", bytes(32))


def test_is_the_same_for_the_same_runtime_and_another_for_another() -> None:
    key = DeveloperKey.generate()
    image = learner_image(PLATFORM, runtime(0), key)
    assert image == learner_image(PLATFORM, runtime(0), key)
    assert image.mr_enclave != learner_image(PLATFORM, runtime(1), key).mr_enclave
    assert image.name == "learner"


def test_every_entry_point_may_be_called_by_anyone_in_the_clear() -> None:
    manifest = learner_image(PLATFORM, runtime(0), DeveloperKey.generate()).contents().manifest
    assert all(entry.plain and entry.callers is ANYONE for entry in manifest.entries)
    assert not manifest.debug
    assert {entry.name for entry in manifest.entries} >= {"ask_host", "seal", "unseal"}
