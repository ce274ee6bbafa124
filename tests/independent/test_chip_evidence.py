"""Quotes of our own chip, certified by our own vendor, before verifiers that others wrote: from birth to revocation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from casemate.chip.fuses import random_fuses
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB, Tcb
from casemate.makers.intel.keys import KeyRole
from casemate.makers.intel.ledger import Ca, Revoked
from casemate.makers.intel.levels import recover_platform
from casemate.makers.intel.maker import PckRequest, issue_pck, new_maker, publish_collateral, revoke
from casemate.testing.forge import honest, honest_body
from casemate.verifier import AcceptedStatus, RefusedError, SgxEvidence, SgxPolicy, SimulatedRoot, appraise
from casemate.verifier.common_demands import ExpectedReportData
from casemate.wire.sgx.tcb_info import TcbStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
REPORT_DATA = bytes(range(64))


class Machine:
    """A chip and its maker, in one process."""

    def __init__(self, folder: Path) -> None:
        self.office = new_maker(None, NOW)
        self.silicon = SgxPlatform(folder, random_fuses(), FIRST_TCB)
        self.certify()

    @property
    def root(self) -> bytes:
        return self.office.certificates[KeyRole.ROOT]

    def certify(self) -> None:
        request = self.silicon.certification_request
        assert request is not None
        asked = PckRequest(
            public_key=request.public_key,
            ppid=request.ppid,
            cpu_svn=request.cpu_svn,
            pce_svn=request.pce_svn,
            pce_id=request.pce_id.to_bytes(2, "big"),
            fmspc=request.fmspc,
            ca=Ca.PLATFORM,
            seeded=request.seeded,
        )
        self.office, chain, _ = issue_pck(self.office, asked, NOW)
        self.silicon.certified(chain)

    def quote(self) -> bytes:
        body = honest_body()
        enclave = Secs(
            attributes=body.attributes,
            misc_select=body.misc_select,
            cet_attributes=body.cet_attributes,
            mr_enclave=body.mr_enclave,
            mr_signer=body.mr_signer,
            isv_prod_id=body.isv_prod_id,
            isv_svn=body.isv_svn,
            isv_ext_prod_id=body.isv_ext_prod_id,
            isv_family_id=body.isv_family_id,
            config_id=body.config_id,
            config_svn=body.config_svn,
        )
        return self.silicon.quoting.quote(self.silicon.ereport(enclave, self.silicon.quote_target, REPORT_DATA))

    def policy(self) -> SgxPolicy:
        root = SimulatedRoot.of(self.root)
        demand = ExpectedReportData(REPORT_DATA)
        return replace(honest(NOW).policy(root), report_data=demand, layers="UNSAFE_ANY_SANDBOX")

    def judge(self, third_party: Callable[..., Any], quote: bytes) -> str | None:
        """The third party's status, after ours has been found to agree."""
        collateral = publish_collateral(self.office, Ca.PLATFORM, NOW)
        theirs: str | None = third_party(quote, collateral, self.root, SOON).status
        evidence, policy = SgxEvidence(quote, None), self.policy()
        if theirs is None:
            with pytest.raises(RefusedError):
                appraise(evidence, policy, collateral, SOON)
        else:
            accepting = replace(policy, tcb=(AcceptedStatus(TcbStatus(theirs), "ANY_ADVISORY"),))
            assert appraise(evidence, accepting, collateral, SOON).tcb.status == theirs
        return theirs


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_new_machine_is_up_to_date(judge: Callable[..., Any], machine: Machine) -> None:
    assert machine.judge(judge, machine.quote()) == TcbStatus.UP_TO_DATE


def test_recovery_outdates_it_until_its_microcode_is_updated(judge: Callable[..., Any], machine: Machine) -> None:
    old = machine.quote()
    levels = recover_platform(machine.office.ledger.tcb_levels, "SIM-SA-00006", NOW)
    machine.office = replace(machine.office, ledger=replace(machine.office.ledger, tcb_levels=levels))
    assert machine.judge(judge, old) == TcbStatus.OUT_OF_DATE
    machine.silicon.update(Tcb(levels[0].components, levels[0].pce_svn))
    machine.certify()
    assert machine.judge(judge, machine.quote()) == TcbStatus.UP_TO_DATE
    assert machine.judge(judge, old) == TcbStatus.OUT_OF_DATE


def test_revocation_ends_its_word(judge: Callable[..., Any], machine: Machine) -> None:
    quote = machine.quote()
    serial = machine.office.ledger.issued[-1].serial
    machine.office = revoke(machine.office, (Revoked(serial, Ca.PLATFORM, NOW),))
    assert machine.judge(judge, quote) is None
