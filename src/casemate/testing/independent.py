"""Independent verifiers of SGX quotes, each behind a function from evidence to a status or a refusal.

The product does not depend on them; :func:`available` gives those that are installed.
"""

import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import Quote

_INTELS_WORDS = {
    "STATUS_OK": "UpToDate",
    "STATUS_TCB_SW_HARDENING_NEEDED": "SWHardeningNeeded",
    "STATUS_TCB_CONFIGURATION_NEEDED": "ConfigurationNeeded",
    "STATUS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED": "ConfigurationAndSWHardeningNeeded",
    "STATUS_TCB_OUT_OF_DATE": "OutOfDate",
    "STATUS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED": "OutOfDateConfigurationNeeded",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """An independent verifier's result."""

    status: str | None
    """Intel's TCB status; None if the verifier refuses."""
    advisories: frozenset[str] | None
    """Intel's advisory IDs; None if this verifier does not report them."""
    complaint: str = ""


Judge = Callable[[bytes, Collateral, bytes, datetime], Judgement]
"""Quote, collateral, trusted root (DER), time."""


def dcap_qvl(quote: bytes, collateral: Collateral, root: bytes, now: datetime) -> Judgement:
    """Phala's dcap-qvl (Rust), by its Python binding."""
    import dcap_qvl as library

    given = library.QuoteCollateralV3.from_json(collateral.encode().decode())
    try:
        report = library.verify_with_root_ca(quote, given, root, int(now.timestamp()))
    except ValueError as error:
        return Judgement(None, None, str(error))
    return Judgement(report.status, frozenset(report.advisory_ids))


def intel_qvl(quote: bytes, collateral: Collateral, root: bytes, now: datetime) -> Judgement:
    """Intel's own Quote Verification Library (C++), by sgx-dcap-quote-verify-python."""
    from sgx_dcap_quote_verify import verify

    try:
        chain = parse_chain("chain", Quote.parse(quote).signature_data.certification_data.data)
        result = verify(
            trusted_root_ca_certificate=encode_chain(root).decode(),
            pck_certificate=encode_chain(chain[0].der).decode(),
            pck_signing_chain=encode_chain(*(block.der for block in chain[1:])).decode(),
            root_ca_crl=_pem_crl(collateral.root_ca_crl),
            intermediate_ca_crl=_pem_crl(collateral.pck_crl),
            tcb_info=_signed("tcbInfo", collateral.tcb_info, collateral.tcb_info_signature),
            tcb_signing_chain=collateral.tcb_info_issuer_chain.decode(),
            quote=quote,
            qe_identity=_signed("enclaveIdentity", collateral.qe_identity, collateral.qe_identity_signature),
            expiration_date=now.astimezone(UTC).replace(tzinfo=None),
        )
    except (ValueError, RuntimeError) as error:
        return Judgement(None, None, str(error))
    found = (
        result.pck_certificate_status,
        result.tcb_info_status,
        result.qe_identity_status,
        result.quote_status,
    )
    statuses = [status.name for status in found]
    if statuses[:3] != ["STATUS_OK"] * 3 or statuses[3] not in _INTELS_WORDS:
        return Judgement(None, None, ", ".join(statuses))
    return Judgement(_INTELS_WORDS[statuses[3]], None)


def intel_runs_here() -> bool:
    """True if a wheel of Intel's library exists for this platform: Linux on x86-64, Python up to 3.11."""
    return (sys.platform, platform.machine()) == ("linux", "x86_64") and sys.version_info < (3, 12)


def available() -> dict[str, Judge]:
    """The verifiers that are installed, by name."""
    found: dict[str, Judge] = {}
    if importlib.util.find_spec("dcap_qvl") is not None:
        found["dcap-qvl (Rust)"] = dcap_qvl
    if intel_runs_here() and importlib.util.find_spec("sgx_dcap_quote_verify") is not None:
        found["Intel's own QVL (C++)"] = intel_qvl
    return found


def _pem_crl(der: bytes) -> str:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM).decode()


def _signed(name: str, document: bytes, signature: bytes) -> str:
    return f'{{"{name}":{document.decode()},"signature":"{signature.hex()}"}}'
