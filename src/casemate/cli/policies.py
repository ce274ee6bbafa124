"""The policy of a command: from the file that the user named, or from what the user has just built or named."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.file_kinds import POLICIES, FileKind, WrongKindError, recognise, wrong_kind
from casemate.cli.files import InputFileError, TooLongFileError, read_file
from casemate.cli.output import Screen
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import EndpointOptions
    from casemate.client.local import LocalMachine
    from casemate.images.image import Image
    from casemate.verifier import (
        AllOfPolicy,
        Anchor,
        AnyOfPolicy,
        AnyPolicy,
        SgxPolicy,
        SimulatedRoot,
        SnpPolicy,
        TeePolicy,
    )

COMMON_LAYERS = frozenset((LayerName.RLIMITS, LayerName.NO_NEW_PRIVS, LayerName.LANDLOCK, LayerName.SECCOMP))
"""Sandbox layers that Linux has for every user: what a policy for others demands until it is edited."""

POLICY_HEADER = """\
# A Casemate policy: whom to trust, with what. All these members must be here; `casemate docs cli` has more of them.
# ANY_... means that a value does not matter, UNSAFE_... gives up a protection.
"""


SNP_POLICY_ADVICE = (
    "`casemate docs snp` has a whole policy to edit; `casemate vm policy` and `casemate policy IMAGE --tee snp` print "
    "one for your own machine"
)


class TimeTextError(CasemateError):
    """A time on the command line is malformed, or has no time zone."""


@dataclass(frozen=True, slots=True)
class PinnedEnclave:
    """The parts in which the command line's policies differ: code, root, and what the image allows."""

    mr_enclave: frozenset[bytes]
    root: "Anchor"
    seeded: bool
    debug: bool
    confined: bool = False
    """Whether to demand :data:`COMMON_LAYERS` around the enclave's process and its guest's."""


def policy_of(named: PinnedEnclave) -> "SgxPolicy":
    """A policy for exactly this code, under this root, at a TCB that is up to date."""
    from casemate.verifier import AcceptedStatus, RequiredLayers, SgxPolicy
    from casemate.wire.sgx.tcb_info import TcbStatus

    return SgxPolicy(
        root=named.root,
        public_seed="UNSAFE_PUBLIC_SEED" if named.seeded else "REFUSE_PUBLIC_SEED",
        mr_enclave=named.mr_enclave,
        mr_signer="ANY_MRSIGNER",
        product_id="ANY_PRODUCT_ID",
        minimum_svn="ANY_SVN",
        debug="UNSAFE_ALLOW_DEBUG" if named.debug else "REFUSE_DEBUG",
        tcb=(AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()),),
        minimum_evaluation_number="ANY_EVALUATION_NUMBER",
        minimum_tcb_date="ANY_TCB_DATE",
        dynamic_platform="ANY_DYNAMIC_PLATFORM",
        cached_keys="ANY_CACHED_KEYS",
        smt="ANY_SMT",
        report_data="FRESH_NONCE",
        layers=RequiredLayers(COMMON_LAYERS, COMMON_LAYERS) if named.confined else "UNSAFE_ANY_SANDBOX",
    )


def any_policy_in(path: Path) -> "AnyPolicy | AllOfPolicy":
    """The policy in a file, of any kind; lists of releases that it names are read, and their versions kept."""
    from casemate.client.release_lists import with_releases
    from casemate.verifier import PolicyError, parse_any_policy
    from casemate.verifier.policy_text import MAX_POLICY

    try:
        data = read_file(path, what="policy", limit=MAX_POLICY)
    except TooLongFileError as error:
        raise wrong_kind(error.start, path, what="policy", wanted=POLICIES) or error from None
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark before it
        return parse_any_policy(with_releases(text, path))
    except UnicodeDecodeError:
        other = wrong_kind(data, path, what="policy", wanted=POLICIES)
        raise other or InputFileError(f"policy {path}: got bytes that are no UTF-8, want TOML or JSON") from None
    except PolicyError as error:
        found = recognise(data)
        if found is not None and found.kind not in POLICIES:
            raise wrong_kind(data, path, what="policy", wanted=POLICIES) or error from None
        named = PolicyError(f"policy {path}: {error}")
        named.advice = SNP_POLICY_ADVICE if found is not None and found.kind is FileKind.SNP_POLICY else ""
        raise named from None


def policy_in(path: Path) -> "AnyPolicy":
    """The policy in a file, for one piece of evidence; WrongKindError where it is for several."""
    from casemate.verifier import AllOfPolicy

    policy = any_policy_in(path)
    if isinstance(policy, AllOfPolicy):
        raise WrongKindError(
            f"policy {path}: got all_of, which is for {len(policy.members)} pieces of evidence together, want a policy "
            "for one",
            "`casemate verify FILE FILE --policy FILE` judges several pieces together",
        )
    return policy


def policy_for_quote(path: Path) -> "SgxPolicy | AnyOfPolicy":
    """The policy in a file, for quotes; WrongKindError where it is one for reports of SEV-SNP."""
    from casemate.verifier import SnpPolicy

    policy = policy_in(path)
    if isinstance(policy, SnpPolicy):
        raise WrongKindError(
            f"policy {path}: got {FileKind.SNP_POLICY.value}, want one for the quote",
            "`casemate policy IMAGE` prints a policy for quotes; a report is given with --certificates FILE",
        )
    return policy


def policy_for_report(path: Path) -> "SnpPolicy | AnyOfPolicy":
    """The policy in a file, for reports; WrongKindError where it is one for quotes of SGX."""
    from casemate.verifier import SgxPolicy

    policy = policy_in(path)
    if isinstance(policy, SgxPolicy):
        raise WrongKindError(
            f"policy {path}: got {FileKind.SGX_POLICY.value}, want one for the report", SNP_POLICY_ADVICE
        )
    return policy


def policy_for_certificate(path: Path) -> "SgxPolicy":
    """The policy in a file, for certificates with quotes; WrongKindError for any other, compositions too."""
    from casemate.verifier import AnyOfPolicy

    policy = policy_for_quote(path)
    if isinstance(policy, AnyOfPolicy):
        raise WrongKindError(
            f"policy {path}: got {FileKind.COMPOSED_POLICY.value}, want one for the quote in the certificate",
            "give a member's own policy: a certificate is appraised by one",
        )
    return policy


def answering(policy: "AnyPolicy", nonce: bytes) -> "AnyPolicy":
    """The policy for one challenge, in those of its members that demand a fresh one."""
    from casemate.verifier import AnyOfPolicy

    if isinstance(policy, AnyOfPolicy):
        return policy.changed(lambda member: _answering(member, nonce))
    return _answering(policy, nonce)


def _answering(policy: "TeePolicy", nonce: bytes) -> "TeePolicy":
    return policy.with_nonce(nonce) if policy.report_data == "FRESH_NONCE" else policy


def root_of(machine: "LocalMachine") -> "SimulatedRoot":
    """The root of the user's own machine, which the user's own supervisor names."""
    from casemate.verifier import SimulatedRoot

    return SimulatedRoot.of(machine.status.root_certificate)


def root_at(named: "EndpointOptions", screen: Screen, *, trust_on_first_use: bool) -> "tuple[Anchor, bool]":
    """The root of the machine at an endpoint, and whether it was made from a public seed.

    The user's own supervisor is believed. A gateway is only where the user says so, and then the user is told what for.
    """
    from casemate.cli.endpoints import endpoint_of

    endpoint = endpoint_of(named)
    machine = endpoint.own_machine()
    if machine is not None:
        return root_of(machine), machine.status.seeded
    if not trust_on_first_use:
        raise typer.BadParameter(
            f"the root that {endpoint} names is its operator's word: give --root FILE with one that came to you by "
            "another way, or take it with --trust-on-first-use and compare its fingerprint"
        )
    with endpoint.connect() as client:
        der = client.machine().root_certificate
    screen.say(
        f"trusted on first use: the root that {endpoint} names has the SHA-256 {hashlib.sha256(der).hexdigest()}. "
        "Only its operator says so: compare it with what the machine's owner sees (`casemate status`).",
        style="bold yellow",
    )
    return _root(der, f"root certificate of {endpoint}")


def root_in(path: Path) -> "tuple[Anchor, bool]":
    """The root in a certificate file (PEM or DER), and whether it was made from a public seed.

    Raises:
        InputFileError: it is not Intel's, and not marked SIMULATED: a policy cannot name it.
    """
    from casemate.cli.evidence.files import read_certificate_file

    return _root(read_certificate_file(path, what="root certificate")[-1], f"root certificate {path}")


def _root(der: bytes, what: str) -> "tuple[Anchor, bool]":
    """The root that a certificate is; InputFileError for one that no policy can name."""
    from casemate.cli.inspection.certificate import simulated_mark
    from casemate.verifier import INTEL_SGX_ROOT, SimulatedRoot, VendorKey
    from casemate.verifier.crypto import parse_certificate
    from casemate.verifier.roots import INTEL_SGX_ROOT_CA, INTEL_SGX_ROOT_KEY

    if der == INTEL_SGX_ROOT_CA:
        return INTEL_SGX_ROOT, False
    certificate = parse_certificate(der)
    if VendorKey(certificate.common_name, certificate.key_sha256) == INTEL_SGX_ROOT_KEY:
        return INTEL_SGX_ROOT_KEY, False
    mark = simulated_mark(der)
    if mark is None:
        raise InputFileError(f"{what}: got one of neither, want Intel's or one marked SIMULATED")
    return SimulatedRoot.of(der), mark.seeded


def time_of(text: str | None) -> datetime:
    """The time that the user gave, or now; in UTC, to the second."""
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TimeTextError(f"time is {text[:80]!r}, want one such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise TimeTextError(f"time is {text!r}, want its time zone too: append Z for UTC")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:  # the time in UTC is before year 1 or after year 9999
        raise TimeTextError(f"time is {text!r}, want one from the year 1 to the year 9999 in UTC") from None


def weaknesses(policy: "AnyPolicy | AllOfPolicy") -> str:
    """The protections that a policy gives up, for a notice."""
    return ", ".join(policy.weaknesses()) or "none"


def own_policy(image: "Image", machine: "LocalMachine", tee: Tee = Tee.SGX) -> tuple["AnyPolicy", str]:
    """The policy for an image that was just built and runs on one's own machine, and what to call it."""
    from casemate.cli.snp.policies import function_policy, maker_of

    said = "made for this run: this very code, this very machine"
    if tee is Tee.SNP:
        return function_policy(image, maker_of(machine), confined=False), said
    debug = image.parse_sigstruct().attributes.debug
    named = PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=machine.status.seeded, debug=debug)
    return policy_of(named), said
