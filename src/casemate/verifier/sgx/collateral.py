"""TCB info and QE identity: signed by the TCB signing key over their exact bytes, current, and about SGX."""

from datetime import datetime
from functools import lru_cache

from casemate.verifier.chains import Chain
from casemate.verifier.checks import Trail, moment, window
from casemate.verifier.common_demands import EndorsementDemand, Terms
from casemate.verifier.crypto import document_signed_by
from casemate.verifier.rules import Rule
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.qe_identity import QE_IDENTITY_VERSION, QeIdentity
from casemate.wire.sgx.tcb_info import TCB_INFO_VERSION, TcbInfo

TCB_INFO_RULES = (
    Rule.TCB_INFO_SIGNATURE,
    Rule.TCB_INFO_FORMAT,
    Rule.TCB_INFO_ID,
    Rule.TCB_INFO_VERSION,
    Rule.TCB_INFO_TYPE,
    Rule.TCB_INFO_WINDOW,
    Rule.TCB_INFO_EVALUATION,
    Rule.TCB_INFO_FMSPC,
    Rule.TCB_INFO_PCE_ID,
)
QE_IDENTITY_RULES = (
    Rule.QE_IDENTITY_SIGNATURE,
    Rule.QE_IDENTITY_FORMAT,
    Rule.QE_IDENTITY_ID,
    Rule.QE_IDENTITY_VERSION,
    Rule.QE_IDENTITY_WINDOW,
    Rule.QE_IDENTITY_EVALUATION,
)

_TCB_TYPE = 0
"""Components are compared one by one, PCESVN beside them."""


@lru_cache(maxsize=16)
def _parse_tcb_info(data: bytes) -> TcbInfo:
    return TcbInfo.parse(data)


@lru_cache(maxsize=16)
def _parse_qe_identity(data: bytes) -> QeIdentity:
    return QeIdentity.parse(data)


def check_tcb_info(trail: Trail, collateral: Collateral, chain: Chain, pck: PckExtension, terms: Terms) -> TcbInfo:
    """The verified TCB info for this platform."""
    signature = collateral.tcb_info_signature
    _check_signature(trail, Rule.TCB_INFO_SIGNATURE, chain, signature, collateral.tcb_info)
    info = trail.parse(Rule.TCB_INFO_FORMAT, _parse_tcb_info, collateral.tcb_info, "TCB info, version 3")
    trail.expect(Rule.TCB_INFO_ID, info.id == "SGX", got=info.id, want="SGX")
    trail.expect(Rule.TCB_INFO_VERSION, info.version == TCB_INFO_VERSION, got=info.version, want=TCB_INFO_VERSION)
    trail.expect(Rule.TCB_INFO_TYPE, info.tcb_type == _TCB_TYPE, got=info.tcb_type, want=_TCB_TYPE)
    _check_window(trail, Rule.TCB_INFO_WINDOW, info, terms.now)
    _check_evaluation(trail, Rule.TCB_INFO_EVALUATION, info.tcb_evaluation_data_number, terms.demand)
    trail.expect(Rule.TCB_INFO_FMSPC, info.fmspc == pck.fmspc, got=info.fmspc, want=pck.fmspc)
    trail.expect(Rule.TCB_INFO_PCE_ID, info.pce_id == pck.pce_id, got=info.pce_id, want=pck.pce_id)
    return info


def check_qe_identity(trail: Trail, collateral: Collateral, chain: Chain, terms: Terms) -> QeIdentity:
    """The verified identity of the quoting enclave."""
    signature = collateral.qe_identity_signature
    _check_signature(trail, Rule.QE_IDENTITY_SIGNATURE, chain, signature, collateral.qe_identity)
    identity = trail.parse(
        Rule.QE_IDENTITY_FORMAT, _parse_qe_identity, collateral.qe_identity, "QE identity, version 2"
    )
    trail.expect(Rule.QE_IDENTITY_ID, identity.id == "QE", got=identity.id, want="QE")
    trail.expect(
        Rule.QE_IDENTITY_VERSION,
        identity.version == QE_IDENTITY_VERSION,
        got=identity.version,
        want=QE_IDENTITY_VERSION,
    )
    _check_window(trail, Rule.QE_IDENTITY_WINDOW, identity, terms.now)
    _check_evaluation(trail, Rule.QE_IDENTITY_EVALUATION, identity.tcb_evaluation_data_number, terms.demand)
    return identity


def _check_signature(trail: Trail, rule: Rule, chain: Chain, signature: bytes, document: bytes) -> None:
    good = document_signed_by(chain.point, signature, document)
    trail.require(
        rule, good, got="a good signature" if good else "a bad signature", want=f"one by {chain.leaf.common_name}"
    )


def _check_window(trail: Trail, rule: Rule, document: TcbInfo | QeIdentity, now: datetime) -> None:
    trail.expect(
        rule,
        document.issue_date <= now <= document.next_update,
        got=moment(now, document.issue_date, document.next_update),
        want=window(document.issue_date, document.next_update, document.id),
    )


def _check_evaluation(trail: Trail, rule: Rule, number: int, demand: EndorsementDemand) -> None:
    minimum = demand.minimum_evaluation_number
    if isinstance(minimum, int):
        trail.expect(rule, number >= minimum, got=number, want=f"{minimum} or above")
    else:
        trail.waive(rule, got=number, by=minimum)
