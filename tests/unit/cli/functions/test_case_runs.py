import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from casemate.cli.functions import case_runs
from casemate.cli.functions.case_runs import CaseRuns
from casemate.cli.functions.copy_calls import EndlessStreamError
from casemate.cli.handlers_log import HandlersLog
from casemate.client.sync import Enclave
from casemate.link.errors import PeerGoneError

if TYPE_CHECKING:
    from casemate.cli.functions.copies import Copies
    from casemate.wire.protocol.manifest import Manifest

ENCLAVE = cast("Enclave", object())


class FakeCopies:
    """Copies that can be ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def end(self, enclave: Enclave) -> None:
        assert enclave is ENCLAVE
        self.ended.set()


@pytest.fixture
def copies() -> FakeCopies:
    return FakeCopies()


@pytest.fixture
def runs(copies: FakeCopies, tmp_path: Path) -> CaseRuns:
    return CaseRuns(cast("Copies", copies), cast("Manifest", None), {}, HandlersLog(tmp_path))


def streams_until_ended(runs: CaseRuns, copies: FakeCopies, seconds: float) -> None:
    with runs.ended_after(ENCLAVE, seconds):
        assert copies.ended.wait(30)
        raise PeerGoneError("gone")


def test_a_stream_that_never_ends_is_ended_and_the_reason_told(runs: CaseRuns, copies: FakeCopies) -> None:
    with pytest.raises(EndlessStreamError, match=r"did not end within 0\.05 s"):
        streams_until_ended(runs, copies, 0.05)


def test_a_stream_that_fails_by_itself_says_why(runs: CaseRuns, copies: FakeCopies) -> None:
    copies.ended.set()
    with pytest.raises(PeerGoneError, match="gone"):
        streams_until_ended(runs, copies, case_runs.LONGEST)
