"""A pipe (FIFO) in place of any file of the state directory holds nobody up: it is refused, or left alone, at once."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.chip.anchors import Anchors
from casemate.chip.audit import log_act as log_chips_act
from casemate.chip.errors import StateError
from casemate.chip.fuses import load_fuses, seeded_fuses
from casemate.chip.inventory import read_inventory as read_chips
from casemate.chip.sgx.tcb import load_tcb
from casemate.chip.snp.platform_state import USUAL, load_platform_state
from casemate.chip.state_directory import open_state_directory
from casemate.cli.files import InputFileError
from casemate.cli.learner_image import put_learner_image
from casemate.cli.token_files import change_tokens, read_tokens
from casemate.gateway.http.problems import ProblemError
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.tokens import TokenStore
from casemate.gateway.learner.shared_enclave import _read as read_learner
from casemate.gateway.learner.shared_vms import _read as read_firmware
from casemate.gateway.v1.machine import MachineFile
from casemate.host.catalogue import Catalogue, CatalogueError
from casemate.host.endorsements import CollateralCache
from casemate.host.records import Records, RecordsError
from casemate.host.vm.revocation_lists import read_revocation_list
from casemate.makers import store
from casemate.process.audit_log import last_entry_at, log_act
from casemate.process.ownership import PlaceError
from casemate.process.plain_file import NoPlainFileError
from casemate.supervisor.inventory import read_inventory
from casemate.supervisor.lock import lock_state
from casemate.supervisor.machine_log import MachineLog
from casemate.wire.protocol.access_tokens import token_text
from casemate.wire.protocol.faults import FaultError

FUSES = seeded_fuses("a test")
NOW = datetime(2026, 11, 30, tzinfo=UTC)
BEARING = [(b"authorization", f"Bearer {token_text(bytes(32))}".encode())]


def locked_maker(state: Path) -> None:
    (state / "vendor" / "ledger.json").write_bytes(b"")
    with store.locked(state):
        raise AssertionError("locked")


REFUSED: list[tuple[str, Callable[[Path], object], type[Exception]]] = [
    ("audit.jsonl", lambda state: log_act(state, "", ""), PlaceError),
    ("inventory.json", read_inventory, NoPlainFileError),
    ("machine.lock", lock_state, PlaceError),
    ("machine.log", lambda state: MachineLog(state / "machine.log"), PlaceError),
    ("tokens.lock", lambda state: change_tokens(state, lambda tokens: tokens, what=""), PlaceError),
    ("learner.pem", lambda state: put_learner_image(state, platform="", runtime=()), InputFileError),
    ("host/tokens.json", read_tokens, InputFileError),
    ("host/tokens.json", lambda state: TokenStore(state / "host/tokens.json", None).admit(BEARING), ProblemError),
    ("host/collateral.json", lambda state: CollateralCache(state / "host/collateral.json").read(), FaultError),
    ("host/machine.json", lambda state: MachineFile(state / "host/machine.json").read("1"), FaultError),
    ("host/gateway.log", lambda state: RequestLog(state / "host/gateway.log"), NoPlainFileError),
    ("host/learner/learner.sgxs", lambda state: read_learner(state / "host/learner"), FaultError),
    ("host/guests/report.fd", lambda state: read_firmware(state / "host/guests/report.fd"), FaultError),
    ("host/catalogue.db", lambda state: Catalogue(state / "host/catalogue.db"), CatalogueError),
    ("host/catalogue.db-journal", lambda state: Catalogue(state / "host/catalogue.db"), CatalogueError),
    ("host/records.db", lambda state: Records(state / "host/records.db").newest(bytes(32)), RecordsError),
    ("host/records.db-wal", lambda state: Records(state / "host/records.db").newest(bytes(32)), RecordsError),
    ("chip/lock", open_state_directory, StateError),
    ("chip/inventory", lambda state: read_chips(state / "chip"), StateError),
    ("chip/fuses.bin", lambda state: load_fuses(state / "chip", None), StateError),
    ("chip/tcb.bin", lambda state: load_tcb(state / "chip"), StateError),
    ("chip/anchors.log", lambda state: Anchors(state / "chip", FUSES), StateError),
    ("chip/snp.bin", lambda state: load_platform_state(state / "chip", USUAL), StateError),
    ("chip/audit.log", lambda state: log_chips_act(state / "chip", "", "", NOW), StateError),
    ("vendor/lock", locked_maker, NoPlainFileError),
    ("vendor/ledger.json", store.load_seed, PlaceError),
]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for folder in (".", "host", "chip", "vendor", "host/learner", "host/guests"):
        (tmp_path / "state" / folder).mkdir(mode=0o700)
    return tmp_path / "state"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("name", "use", "refusal"), REFUSED)
def test_is_refused(state: Path, name: str, use: Callable[[Path], object], refusal: type[Exception]) -> None:
    os.mkfifo(state / name, 0o600)
    with pytest.raises(refusal) as caught:
        use(state)
    if refusal is not ProblemError:
        assert "plain file" in str(caught.value)


@pytest.mark.timeout(20)
def test_is_as_good_as_nothing(state: Path) -> None:
    """Where what is missing is no fault either."""
    for name in ("audit.jsonl", "host/amd-milan.crl"):
        os.mkfifo(state / name, 0o600)
    assert last_entry_at(state / "audit.jsonl") is None
    assert read_revocation_list(state / "host", "milan") is None
