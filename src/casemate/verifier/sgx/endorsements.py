"""What the maker says of a platform: its PCK chain, revocation lists, TCB info and QE identity, checked together.

All of it is the same for every quote of a platform until the maker publishes anew. So verified endorsements are cached
with the period for which they hold, and used again within that period alone. Outside it the checks are made again, and
say what has run out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from casemate.verifier.chains import (
    CHAIN_RULES,
    PCK_CA_NAMES,
    PCK_NAMES,
    ROOT_NAMES,
    TCB_SIGNING_NAMES,
    Chain,
    check_chain,
)
from casemate.verifier.checks import RefusedError, Step, Trail
from casemate.verifier.common_demands import EndorsementDemand, Terms
from casemate.verifier.issue_marks import IssueMarks, ListNumber
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.collateral import QE_IDENTITY_RULES, TCB_INFO_RULES, check_qe_identity, check_tcb_info
from casemate.verifier.sgx.quotes import PCK_RULES, pck_extension
from casemate.verifier.sgx.revocation import (
    REVOCATION_RULES,
    RevocationLists,
    check_issuer_chain,
    check_revocation,
    check_signer_not_revoked,
)
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.qe_identity import QeIdentity
from casemate.wire.sgx.tcb_info import TcbInfo

_TIME_RULES = frozenset({Rule.CHAIN_VALIDITY, Rule.CRL_WINDOW, Rule.TCB_INFO_WINDOW, Rule.QE_IDENTITY_WINDOW})
"""The rules whose outcome depends on the time. Each compares it with a validity period."""

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)

_IN_QUOTE = ("signature_data.certification_data.data",)


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform's certificate chain, and what its PCK certificate says of it."""

    chain: Step[Chain]
    pck: Step[PckExtension]


@dataclass(frozen=True, slots=True)
class Endorsements:
    """The verified parts of the collateral."""

    lists: Step[RevocationLists]
    crl_chain: Step[Chain]
    info_chain: Step[Chain]
    info: Step[TcbInfo]
    identity_chain: Step[Chain]
    identity: Step[QeIdentity]


@dataclass(frozen=True, slots=True)
class CachedEndorsements:
    """Endorsements of a platform in which every check holds, from ``start`` to ``end``."""

    platform: Platform
    endorsements: Endorsements
    start: datetime
    end: datetime


def check_platform_chain(trail: Trail, pem: Callable[[], bytes], terms: Terms) -> Platform:
    """The platform that the chain in a quote is for."""
    chain = trail.group(
        "PCK certificate chain",
        CHAIN_RULES,
        lambda: check_chain(trail, pem(), (PCK_NAMES, PCK_CA_NAMES, ROOT_NAMES), terms, _IN_QUOTE),
    )
    pck = trail.group("PCK certificate", PCK_RULES, lambda: pck_extension(trail, chain.value()))
    return Platform(chain, pck)


def check_endorsements(trail: Trail, given: Collateral | None, platform: Platform, terms: Terms) -> Endorsements:
    """The collateral, for this platform."""
    collateral = trail.group("Collateral", (Rule.COLLATERAL_PRESENT,), lambda: _present(trail, given))
    lists = trail.group(
        "Revocation lists",
        REVOCATION_RULES,
        lambda: check_revocation(trail, collateral.value(), platform.chain.value(), terms.now),
    )
    crl_chain = trail.group(
        "PCK CRL issuer chain",
        CHAIN_RULES,
        lambda: check_chain(trail, collateral.value().pck_crl_issuer_chain, (PCK_CA_NAMES, ROOT_NAMES), terms),
    )
    trail.group(
        "PCK CRL issuer",
        (Rule.CRL_ISSUER,),
        lambda: check_issuer_chain(trail, crl_chain.value(), platform.chain.value()),
    )

    def signing_chain(what: str, pem: Callable[[Collateral], bytes]) -> Step[Chain]:
        chain = trail.group(
            f"{what} issuer chain",
            CHAIN_RULES,
            lambda: check_chain(trail, pem(collateral.value()), (TCB_SIGNING_NAMES, ROOT_NAMES), terms),
        )
        trail.group(
            f"{what} issuer",
            (Rule.REVOKED_TCB_SIGNING,),
            lambda: check_signer_not_revoked(trail, chain.value(), lists.value()),
        )
        return chain

    info_chain = signing_chain("TCB info", lambda found: found.tcb_info_issuer_chain)
    info = trail.group(
        "TCB info",
        TCB_INFO_RULES,
        lambda: check_tcb_info(trail, collateral.value(), info_chain.value(), platform.pck.value(), terms),
    )
    identity_chain = signing_chain("QE identity", lambda found: found.qe_identity_issuer_chain)
    identity = trail.group(
        "QE identity",
        QE_IDENTITY_RULES,
        lambda: check_qe_identity(trail, collateral.value(), identity_chain.value(), terms),
    )
    return Endorsements(lists, crl_chain, info_chain, info, identity_chain, identity)


def recall(pem: bytes, given: Collateral | None, terms: Terms) -> CachedEndorsements | None:
    """The endorsements of this platform if they hold now; None leaves it to the checks to say what does not."""
    cached = None if given is None else _cached(pem, given, terms.demand)
    if cached is None or not cached.start <= terms.now <= cached.end:
        return None
    return cached


@lru_cache(maxsize=16)
def _cached(pem: bytes, given: Collateral, demand: EndorsementDemand) -> CachedEndorsements | None:
    """The outcome of all checks but those of the time, and the span for which those hold; remembered."""
    trail = Trail(thorough=False, without=_TIME_RULES)
    terms = Terms(demand, _ANY_TIME)
    try:
        platform = check_platform_chain(trail, lambda: pem, terms)
        endorsements = check_endorsements(trail, given, platform, terms)
    except RefusedError:
        return None
    start, end = lifetime(platform, endorsements)
    return CachedEndorsements(platform, endorsements, start, end)


def lifetime(platform: Platform, endorsements: Endorsements) -> tuple[datetime, datetime]:
    """The period in which every certificate, list and document is valid: first and last moment."""
    chains = [chain.value() for chain in chains_of(platform, endorsements)]
    lists, info, identity = endorsements.lists.value(), endorsements.info.value(), endorsements.identity.value()
    starts = (chain.youngest.not_before for chain in chains)
    ends = (chain.soonest.not_after for chain in chains)
    return (
        max(*starts, lists.root.this_update, lists.pck.this_update, info.issue_date, identity.issue_date),
        min(*ends, lists.root.next_update, lists.pck.next_update, info.next_update, identity.next_update),
    )


def issue_dates(endorsements: Endorsements) -> dict[str, datetime]:
    """When the maker issued what it issues anew each day or month, by name.

    The root's list is not among them: Intel issues it once a year, so any age that is of use would refuse it.
    """
    return {
        "TCB info": endorsements.info.value().issue_date,
        "QE identity": endorsements.identity.value().issue_date,
        "PCK revocation list": endorsements.lists.value().pck.this_update,
    }


def issue_marks(platform: Platform, endorsements: Endorsements) -> IssueMarks:
    """How new all of it is."""
    chain, lists = platform.chain.value(), endorsements.lists.value()
    issued = ((chain.root.key_sha256, lists.root.number), (chain.issuer.key_sha256, lists.pck.number))
    info, identity = endorsements.info.value(), endorsements.identity.value()
    return IssueMarks(
        root=chain.root.key_sha256,
        newest=lifetime(platform, endorsements)[0],
        lists=tuple(ListNumber(issuer, number) for issuer, number in issued if number is not None),
        evaluation_number=min(info.tcb_evaluation_data_number, identity.tcb_evaluation_data_number),
    )


def chains_of(platform: Platform, endorsements: Endorsements) -> tuple[Step[Chain], ...]:
    """Every chain that was followed."""
    return platform.chain, endorsements.crl_chain, endorsements.info_chain, endorsements.identity_chain


def _present(trail: Trail, given: Collateral | None) -> Collateral:
    if given is None:
        trail.refuse(Rule.COLLATERAL_PRESENT, got="none", want="collateral")
    trail.found(Rule.COLLATERAL_PRESENT, got="collateral", want="collateral")
    return given
