"""What the rows about callers rest on: refusals that are followed and counted, and a process's processor time."""

import os
import time
from unittest.mock import Mock

import pytest
from bench.callers import call_until_taken
from bench.processes import processor_seconds

from casemate.client import Enclave, EnclaveRefusedError
from casemate.wire.protocol.faults import Code, fault

WAIT = 0.05


def refusing(code: Code, *, retry_after: float) -> Mock:
    """An enclave that refuses twice, then answers."""
    refusal = EnclaveRefusedError(fault(code, "not now", retry_after=retry_after))
    return Mock(Enclave, call=Mock(side_effect=[refusal, refusal, None]))


def test_a_busy_enclave_is_called_again_when_it_says_and_its_refusals_are_counted() -> None:
    began = time.monotonic()
    assert call_until_taken(refusing(Code.BUSY, retry_after=WAIT)) == 2
    assert time.monotonic() - began >= 2 * WAIT


@pytest.mark.parametrize(("code", "retry_after"), [(Code.BUSY, 0.0), (Code.GUEST_ERROR, WAIT)])
def test_any_other_refusal_ends_the_run(code: Code, retry_after: float) -> None:
    with pytest.raises(EnclaveRefusedError, match=code):
        call_until_taken(refusing(code, retry_after=retry_after))


def test_processor_time_is_what_the_process_used_and_not_what_it_slept() -> None:
    before, used = processor_seconds(os.getpid()), time.process_time()
    while time.process_time() - used < WAIT:
        pass
    time.sleep(2 * WAIT)
    assert processor_seconds(os.getpid()) - before == pytest.approx(WAIT, abs=WAIT / 2)
