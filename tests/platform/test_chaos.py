"""Processes are killed at random while several clients write: what is acknowledged is kept, and done once."""

import os
import random
import threading
import time
from pathlib import Path

import pytest
from tests.rigs.platform.accounts import CALL_TIMEOUT, Account, Writer, settle
from tests.rigs.platform.chaos import Chaos
from tests.rigs.platform.machine import Tell, platform_on, policy_for

from casemate.client import Enclave, connect
from casemate.client.local import running_machine
from casemate.images.image import Image

pytestmark = [pytest.mark.machine, pytest.mark.alone]

SECONDS = float(os.environ.get("CASEMATE_CHAOS_SECONDS", "45"))
CLIENTS = 4
"""Half of them over HTTP, half over the Unix socket."""
BACK = 30.0
"""How soon after the last death every client's writes are acknowledged again (seconds)."""
PAGE = 500
EACH = {"gateway", "chip", "guest", "enclave"}
"""Roles of which one has to have died."""


def test_whatever_dies_every_call_ends_and_no_acknowledged_write_is_lost_or_done_twice(
    tmp_path: Path, image: Image, record_property: Tell
) -> None:
    seed = int(os.environ.get("CASEMATE_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    record_property("CASEMATE_CHAOS_SEED", seed)  # draws the same victims
    killing, writing = threading.Event(), threading.Event()
    with platform_on(tmp_path / "machine") as platform:
        machine = platform.machine
        policy = policy_for(machine, image)
        chaos = Chaos(lambda: machine.status.supervisor_pid, seed, killing)
        with platform.connect() as client:
            number = client.launch(image)
        writers = [
            Writer(f"client{name}", door, number, policy, writing)
            for name, door in enumerate((platform.connect, lambda: connect(machine.host_socket)) * (CLIENTS // 2))
        ]
        for thread in (*writers, chaos):
            thread.start()
        time.sleep(SECONDS)
        _wait_until_killed(chaos)
        killing.set()
        chaos.join()
        accounts = [writer.account for writer in writers]
        _wait_until_all_write(accounts)
        writing.set()
        for writer in writers:
            writer.join(CALL_TIMEOUT * 3)
            assert not writer.is_alive(), f"{writer.name} hangs"
        assert running_machine(machine.state).status.supervisor_pid == machine.status.supervisor_pid
        with platform.connect() as client:
            ledger = _ledger(client.attest(number, policy))
        chaos.look()
    _report(chaos, accounts, record_property)
    assert settle(accounts, ledger) == []
    assert all(account.promised for account in accounts)
    assert set(chaos.killed) >= EACH
    assert [process for process in chaos.seen if process.alive] == []


def _wait_until_killed(chaos: Chaos) -> None:
    """A role that was drawn while it had no process is drawn again."""
    until = time.monotonic() + SECONDS
    while not set(chaos.killed) >= EACH and time.monotonic() < until:
        time.sleep(0.1)


def _wait_until_all_write(accounts: list[Account]) -> None:
    calm = time.monotonic()
    while any(account.last_success < calm for account in accounts):
        late = [account.name for account in accounts if account.last_success < calm]
        assert time.monotonic() < calm + BACK, f"{BACK:g} s after the last death {late} cannot write"
        time.sleep(0.1)


def _ledger(enclave: Enclave) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    while True:
        page = enclave.call("read", {"after": max(found, default=None), "limit": PAGE}).value
        found |= {entry["key"]: (entry["value"], entry["writes"]) for entry in page}
        if len(page) < PAGE:
            return found


def _report(chaos: Chaos, accounts: list[Account], record_property: Tell) -> None:
    errors: dict[str, int] = {}
    for account in accounts:
        for kind, count in account.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    facts = {
        "killed": dict(chaos.killed),
        "processes seen": len(chaos.seen),
        "acknowledged": sum(len(account.promised) for account in accounts),
        "ended in an error": sum(len(account.unknown) for account in accounts),
        "errors": errors,
        "longest call (s)": round(max(account.latest for account in accounts), 2),
    }
    for name, fact in facts.items():
        record_property(name, fact)
