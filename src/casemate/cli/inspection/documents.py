"""The JSON documents that Casemate reads: collateral, receipt files, binding files and lists of releases."""

from collections.abc import Iterator

from casemate.cli.inspection.field import Field, Inspection
from casemate.cli.receipt_text import isolation_text, state_text
from casemate.client.binding_file import parse_binding
from casemate.client.receipts import ReceiptBundle
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.spans import as_hex
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.release_list import ReleaseList
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.qe_identity import QeIdentity
from casemate.wire.sgx.tcb_info import TcbInfo, TcbLevel

_COLLATERAL = "Intel ECDSA Quote Library API, sgx_ql_qve_collateral_t"
_TCB_INFO = "Intel PCS API v4, TCBInfoV3"
_QE_IDENTITY = "Intel PCS API v4, EnclaveIdentityV2"
_RECEIPT = "Casemate, docs/cli.md, receipt files"
_RELEASES = "Casemate, docs/cli.md, releases"
_BINDING = "Casemate, docs/cli.md, casemate quote"


def inspect_collateral(data: bytes) -> Inspection:
    """Collateral, as dcap-qvl and Casemate write it."""
    collateral = Collateral.parse(data)
    tcb_info, qe_identity = TcbInfo.parse(collateral.tcb_info), QeIdentity.parse(collateral.qe_identity)
    facts = (
        ("FMSPC", tcb_info.fmspc.hex()),
        ("TCB info", f"{tcb_info.issue_date.isoformat()} to {tcb_info.next_update.isoformat()}"),
        ("QE identity", f"{qe_identity.issue_date.isoformat()} to {qe_identity.next_update.isoformat()}"),
    )
    fields = (
        *_chain("pck_crl_issuer_chain", collateral.pck_crl_issuer_chain),
        _member("root_ca_crl", as_hex(collateral.root_ca_crl), "RFC 5280, 5.1"),
        _member("pck_crl", as_hex(collateral.pck_crl), "RFC 5280, 5.1"),
        *_chain("tcb_info_issuer_chain", collateral.tcb_info_issuer_chain),
        *_tcb_info(tcb_info),
        _member("tcb_info_signature", collateral.tcb_info_signature.hex(), _COLLATERAL),
        *_chain("qe_identity_issuer_chain", collateral.qe_identity_issuer_chain),
        *_qe_identity(qe_identity),
        _member("qe_identity_signature", collateral.qe_identity_signature.hex(), _COLLATERAL),
        *_chain("pck_certificate_chain", collateral.pck_certificate_chain or b""),
    )
    return Inspection("collateral", "SGX quote collateral", len(data), facts, fields)


def inspect_receipt(data: bytes) -> Inspection:
    """A receipt file. Nothing is checked here; `casemate receipt verify` does that."""
    bundle = ReceiptBundle.parse(data)
    receipt = bundle.receipt
    facts = (
        ("code", receipt.measurement.hex()),
        ("entry point", receipt.entry),
        ("opens its input", "no" if bundle.input is None else "yes"),
        ("opens its output", "no" if bundle.output is None else "yes"),
    )
    members = {
        "receipt.quote_hash": receipt.quote_hash.hex(),
        "receipt.measurement": receipt.measurement.hex(),
        "receipt.session": str(receipt.session),
        "receipt.sequence": str(receipt.sequence),
        "receipt.entry": receipt.entry,
        "receipt.caller": "anyone" if receipt.caller is None else caller_key_text(receipt.caller),
        "receipt.input_commitment": receipt.input_commitment.hex(),
        "receipt.output_commitment": receipt.output_commitment.hex(),
        "receipt.counter": str(receipt.counter),
        "receipt.state": state_text(receipt.state),
        "receipt.isolation": isolation_text(receipt.isolation),
        "signature": bundle.signature.hex(),
        **{f"report_data.{name}": meaning for name, meaning in _binding(bundle.binding).items()},
        "tee": str(bundle.proof.tee),
        "evidence": as_hex(bundle.proof.evidence),
        "appraised_at": bundle.appraised_at.isoformat(),
    }
    fields = tuple(_member(name, meaning, _RECEIPT) for name, meaning in members.items())
    return Inspection("receipt", "Casemate receipt file", len(data), facts, fields)


def inspect_binding(data: bytes) -> Inspection:
    """A binding file: what a quote's REPORTDATA is said to vouch for."""
    binding = parse_binding(data)
    facts = (("REPORTDATA", binding.report_data().hex()),)
    fields = tuple(_member(name, meaning, _BINDING) for name, meaning in _binding(binding).items())
    return Inspection("binding", "what REPORTDATA is said to vouch for", len(data), facts, fields)


def inspect_releases(data: bytes) -> Inspection:
    """A list of releases. Its signature is checked where a policy names its owner."""
    found = ReleaseList.parse(data)
    facts = (("function", found.name), ("version", str(found.version)), ("releases", str(len(found.releases))))
    members = {"name": found.name, "version": str(found.version)}
    for number, release in enumerate(found.releases):
        members[f"releases[{number}].mr_enclave"] = release.mr_enclave.hex()
        members[f"releases[{number}].launch_digest"] = release.launch_digest.hex()
    members["signature"] = found.signature.hex()
    fields = tuple(_member(name, meaning, _RELEASES) for name, meaning in members.items())
    return Inspection("releases", "what a function's owner has released", len(data), facts, fields)


def _binding(binding: ReportDataBinding) -> dict[str, str]:
    return {
        "hpke_key": binding.hpke_key.hex(),
        "receipt_key": binding.receipt_key.hex(),
        "nonce": binding.nonce.hex(),
        **{
            f"layers.{where}.{layer.name}": f"{layer.state}: {layer.detail}"
            for where, layers in (("enclave", binding.layers.enclave), ("guest", binding.layers.guest))
            for layer in layers
        },
    }


def _chain(name: str, pem: bytes) -> Iterator[Field]:
    """The certificates of a chain by their size; `inspect` explains a certificate that is in a file of its own."""
    if pem:
        for number, certificate in enumerate(parse_chain(name, pem)):
            yield _member(f"{name}[{number}]", f"certificate of {len(certificate.der)} bytes", _COLLATERAL)


def _tcb_info(info: TcbInfo) -> Iterator[Field]:
    yield _member("tcb_info.id", f"{info.id}, version {info.version}", _TCB_INFO)
    yield _member("tcb_info.issueDate", info.issue_date.isoformat(), _TCB_INFO)
    yield _member("tcb_info.nextUpdate", info.next_update.isoformat(), _TCB_INFO)
    yield _member("tcb_info.fmspc", info.fmspc.hex(), _TCB_INFO)
    yield _member("tcb_info.pceId", info.pce_id.hex(), _TCB_INFO)
    yield _member("tcb_info.tcbEvaluationDataNumber", str(info.tcb_evaluation_data_number), _TCB_INFO)
    for number, level in enumerate(info.tcb_levels):
        yield _member(f"tcb_info.tcbLevels[{number}]", _level(level), _TCB_INFO)


def _level(level: TcbLevel) -> str:
    advisories = f", {', '.join(level.advisory_ids)}" if level.advisory_ids else ""
    svns = f"components {level.components.hex(' ')}, PCESVN {level.pce_svn}"
    return f"{level.status}: {svns}, {level.tcb_date.date()}{advisories}"


def _qe_identity(identity: QeIdentity) -> Iterator[Field]:
    yield _member("qe_identity.id", f"{identity.id}, version {identity.version}", _QE_IDENTITY)
    yield _member("qe_identity.issueDate", identity.issue_date.isoformat(), _QE_IDENTITY)
    yield _member("qe_identity.nextUpdate", identity.next_update.isoformat(), _QE_IDENTITY)
    yield _member("qe_identity.mrsigner", identity.mr_signer.hex(), _QE_IDENTITY)
    yield _member("qe_identity.isvprodid", str(identity.isv_prod_id), _QE_IDENTITY)
    for number, level in enumerate(identity.tcb_levels):
        meaning = f"{level.status}: ISVSVN {level.isv_svn}, {level.tcb_date.date()}"
        yield _member(f"qe_identity.tcbLevels[{number}]", meaning, _QE_IDENTITY)


def _member(name: str, meaning: str, source: str) -> Field:
    return Field(name, None, None, meaning, source)
