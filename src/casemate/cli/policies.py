"""The policy of a command: from the file that the user named, or from what the user has just built or named."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.files import InputFileError, read_file
from casemate.wire.errors import CasemateError
from casemate.wire.sandbox import LayerName

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine
    from casemate.verifier import SgxPolicy, SimulatedRoot, VendorRoot

MAX_CERTIFICATE_FILE = 64 * 1024
"""Longest file with a root certificate (bytes)."""

COMMON_LAYERS = frozenset((LayerName.RLIMITS, LayerName.NO_NEW_PRIVS, LayerName.LANDLOCK, LayerName.SECCOMP))
"""Sandbox layers that Linux has for every user: what a policy for others demands until it is edited."""

POLICY_HEADER = """\
# A Casemate policy: whom to trust, with what. Every member must be here; docs/cli.md explains each.
# ANY_... means that a value does not matter, UNSAFE_... gives up a protection.
"""


class TimeTextError(CasemateError):
    """A time on the command line is none, or has no time zone."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a policy that the command line makes names; all else in it is the same each time."""

    mr_enclave: frozenset[bytes]
    root: "VendorRoot | SimulatedRoot"
    seeded: bool
    debug: bool
    confined: bool = False
    """Whether to demand :data:`COMMON_LAYERS` around the enclave's process and its guest's."""


def policy_of(named: Named) -> "SgxPolicy":
    """Exactly this code, under this root, at a TCB that is up to date."""
    from casemate.verifier import AcceptedStatus, RequiredLayers, SgxPolicy
    from casemate.verifier import policy as words
    from casemate.wire.sgx.tcb_info import TcbStatus

    return SgxPolicy(
        root=named.root,
        public_seed=words.UNSAFE_PUBLIC_SEED if named.seeded else words.REFUSE_PUBLIC_SEED,
        mr_enclave=named.mr_enclave,
        mr_signer=words.ANY_MRSIGNER,
        product_id=words.ANY_PRODUCT_ID,
        minimum_svn=words.ANY_SVN,
        debug=words.UNSAFE_ALLOW_DEBUG if named.debug else words.REFUSE_DEBUG,
        tcb=(AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()),),
        minimum_evaluation_number=words.ANY_EVALUATION_NUMBER,
        minimum_tcb_date=words.ANY_TCB_DATE,
        dynamic_platform=words.ANY_DYNAMIC_PLATFORM,
        cached_keys=words.ANY_CACHED_KEYS,
        smt=words.ANY_SMT,
        report_data=words.FRESH_NONCE,
        layers=RequiredLayers(COMMON_LAYERS, COMMON_LAYERS) if named.confined else words.UNSAFE_ANY_SANDBOX,
    )


def policy_in(path: Path) -> "SgxPolicy":
    """The policy in a file."""
    from casemate.verifier import parse_policy
    from casemate.verifier.policy_file import MAX_POLICY

    try:
        text = read_file(path, what="policy", limit=MAX_POLICY).decode()
    except UnicodeDecodeError:
        raise InputFileError(f"policy {path}: got bytes that are no UTF-8, want TOML or JSON") from None
    return parse_policy(text)


def root_of(machine: "LocalMachine") -> "SimulatedRoot":
    """The root of the user's own machine, which the user's own supervisor names."""
    from casemate.verifier import SimulatedRoot

    return SimulatedRoot.of(machine.status.root_certificate)


def root_in(path: Path) -> "tuple[VendorRoot | SimulatedRoot, bool]":
    """The root in a certificate file (PEM or DER), and whether it was made from a public seed.

    Raises:
        InputFileError: it is not Intel's, and not marked SIMULATED: a policy cannot name it.
    """
    from casemate.cli.inspection.certificate import simulated_mark
    from casemate.verifier import INTEL_SGX_ROOT, SimulatedRoot
    from casemate.verifier.roots import INTEL_SGX_ROOT_CA
    from casemate.wire.pem import parse_chain

    data = read_file(path, what="root certificate", limit=MAX_CERTIFICATE_FILE)
    der = data if data.startswith(b"\x30") else parse_chain("root certificate", data)[-1].der
    if der == INTEL_SGX_ROOT_CA:
        return INTEL_SGX_ROOT, False
    mark = simulated_mark(der)
    if mark is None:
        raise InputFileError(f"root certificate {path}: got one of neither, want Intel's or one marked SIMULATED")
    return SimulatedRoot.of(der), mark.seeded


def time_of(text: str | None) -> datetime:
    """The time that the user named, or now; UTC, to the second."""
    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TimeTextError(f"time is {text[:80]!r}, want one such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise TimeTextError(f"time is {text!r}, want its time zone too: append Z for UTC")
    return moment.astimezone(UTC).replace(microsecond=0)


def weaknesses(policy: "SgxPolicy") -> str:
    """The protections that a policy gives up, for a notice."""
    return ", ".join(policy.weaknesses()) or "none"
