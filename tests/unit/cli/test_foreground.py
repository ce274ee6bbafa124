import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.rigs.signals import default_signals

from casemate.cli import foreground


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    with default_signals(foreground.SIGNALS):
        yield


@pytest.mark.parametrize("ignored", foreground.SIGNALS)
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    ignored: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as SIGHUP under nohup(1)."""
    seen: dict[signal.Signals, object] = {}

    def waited(_pid: int, _options: int) -> tuple[int, int]:
        seen.update({number: signal.getsignal(number) for number in foreground.SIGNALS})
        return 0, 0

    signal.signal(ignored, signal.SIG_IGN)
    monkeypatch.setattr(os, "waitpid", waited)
    monkeypatch.setattr(sys, "argv", ["foreground.py", "1"])
    assert foreground.main() == 0
    assert {number for number, handler in seen.items() if handler is signal.SIG_IGN} == {ignored}


def test_a_signal_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]) as supervisor:
        waitpid = os.waitpid

        def waited(pid: int, options: int) -> tuple[int, int]:
            os.kill(os.getpid(), signal.SIGHUP)
            ended = waitpid(pid, options)
            supervisor.returncode = -signal.SIGTERM  # it has been waited for
            return ended

        monkeypatch.setattr(os, "waitpid", waited)
        monkeypatch.setattr(sys, "argv", ["foreground.py", str(supervisor.pid)])
        assert foreground.main() == 1
