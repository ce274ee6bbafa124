"""Clients that write while a machine is being broken, and keep account of what they were promised."""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from casemate.client import Client, Enclave, EnclaveRefusedError
from casemate.verifier import SgxPolicy
from casemate.wire.errors import CasemateError

CALL_TIMEOUT = 10.0
"""Seconds that a call may take: then it ends, one way or the other."""
MARGIN = 5.0
"""What a busy computer may add (seconds) before an end counts as late."""
PAUSE = 0.02
"""Between two calls of one client (seconds)."""

Connect = Callable[[], AbstractContextManager[Client]]


@dataclass
class Account:
    """What one client has been told."""

    name: str
    promised: dict[str, str] = field(default_factory=dict)
    """Key to value of each write that was acknowledged."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Key to value of each write that ended in an error."""
    errors: dict[str, int] = field(default_factory=dict)
    """How often each kind of error ended a call."""
    latest: float = 0.0
    """The longest that any call, challenge or connection took (seconds)."""
    last_success: float = 0.0
    """When a write was last acknowledged (``time.monotonic``)."""
    defects: list[str] = field(default_factory=list)
    """What must never be: an error without a type, an end that is late, a write that was done twice."""


class Writer(threading.Thread):
    """One client: connects, attests, and writes a new key with each call, until it is told to stop.

    It never repeats a call, so a key that was written twice was repeated by somebody between it and the state.
    """

    def __init__(self, name: str, connect: Connect, enclave: int, policy: SgxPolicy, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.account = Account(name)
        self._connect = connect
        self._enclave = enclave
        self._policy = policy
        self._stopping = stop

    def run(self) -> None:
        """Writes until told to stop."""
        while not self._stopping.is_set():
            try:
                self._session()
            except CasemateError as error:
                self._note(error)
            except Exception as error:
                self.account.defects.append(f"an error without a type: {error!r}")
            time.sleep(PAUSE * 5)

    def _session(self) -> None:
        """From a connection to the first error."""
        with self._connect() as client:
            began = time.monotonic()
            try:
                enclave = client.attest(self._enclave, self._policy, timeout=CALL_TIMEOUT)
            finally:
                self._took(began, "a challenge")
            while not self._stopping.is_set():
                self._write(enclave)
                time.sleep(PAUSE)

    def _write(self, enclave: Enclave) -> None:
        account = self.account
        key = f"{account.name}-{len(account.promised) + len(account.unknown):06}"
        value = account.unknown[key] = secrets.token_hex(16)
        began = time.monotonic()
        try:
            writes = enclave.call("write", {"key": key, "value": value}, timeout=CALL_TIMEOUT).value
        except EnclaveRefusedError as error:  # the session is good, the call is not
            self._note(error)
            return
        finally:
            self._took(began, "a call")
        del account.unknown[key]
        account.promised[key] = value
        account.last_success = time.monotonic()
        if writes != 1:
            account.defects.append(f"{key} has been written {writes} times")

    def _note(self, error: CasemateError) -> None:
        code = getattr(getattr(error, "fault", None), "code", "")
        kind = f"{type(error).__name__} {code}".strip()
        self.account.errors[kind] = self.account.errors.get(kind, 0) + 1

    def _took(self, began: float, what: str) -> None:
        seconds = time.monotonic() - began
        self.account.latest = max(self.account.latest, seconds)
        if seconds > CALL_TIMEOUT + MARGIN:
            self.account.defects.append(f"{what} took {seconds:.1f} s, its time-out is {CALL_TIMEOUT:g} s")


def settle(accounts: list[Account], ledger: dict[str, tuple[str, int]]) -> list[str]:
    """Where the ledger (key to value and number of writes) is not what the clients were promised."""
    found = [defect for account in accounts for defect in account.defects]
    asked: dict[str, str] = {}
    for account in accounts:
        asked |= account.promised | account.unknown
        found += [f"lost: {key}, which was acknowledged" for key in account.promised if key not in ledger]
    for key, (value, writes) in ledger.items():
        if asked.get(key) != value:
            found.append(f"{key} holds {value}, what was asked is {asked.get(key, 'nothing')}")
        if writes != 1:
            found.append(f"{key} has been written {writes} times")
    return found
