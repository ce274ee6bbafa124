"""Findings in evidence and its endorsements: the member ``found`` of `casemate verify --json`, and a tree of it.

The shape is public and documented in docs/verify-json.md: members are added, never renamed. Names are those of the
specifications' fields. Bytes are hexadecimal, times RFC 3339, flags the names of the bits that are set.
"""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum, IntFlag
from typing import TYPE_CHECKING

from casemate.cli.output import printable
from casemate.wire.encodings.json_object import date_text
from casemate.wire.errors import WireError
from casemate.wire.snp.report import GuestPolicy, PlatformInfo
from casemate.wire.snp.tcb import PARTS, TcbVersion

if TYPE_CHECKING:
    from rich.tree import Tree

    from casemate.verifier import AllOfPolicy, AnyPolicy, SnpPolicy
    from casemate.verifier.crypto import Certificate, RevocationList
    from casemate.verifier.sgx.findings import SgxFindings
    from casemate.verifier.sgx.tcb import ComparedLevel
    from casemate.verifier.snp.certificates import AmdCertificate, AmdRevocationList
    from casemate.verifier.snp.findings import SnpFindings
    from casemate.wire.sgx.pck import PckExtension
    from casemate.wire.sgx.qe_identity import QeIdentity, QeTcbLevel
    from casemate.wire.sgx.quote import Quote
    from casemate.wire.sgx.tcb_info import TcbInfo
    from casemate.wire.snp.key_certificate import KeyCertificate
    from casemate.wire.snp.report import SnpReport

Document = dict[str, object]

_ABI_BITS = 0xFFFF
"""The lower two bytes of GUEST_POLICY: the least ABI version, minor then major."""


def sgx_document(found: "SgxFindings", *, verified: bool) -> Document:
    """All that a quote and its collateral say; ``verified`` says whether a policy has accepted them."""
    return {
        "verified": verified,
        "tee": "sgx",
        "quote": found.quote and _quote(found.quote),
        "pck": found.pck and _pck(found.pck),
        "pck_chain": [_certificate(each) for each in found.pck_chain],
        "collateral": {
            "tcb_info": found.tcb_info and _tcb_info(found.tcb_info),
            "qe_identity": found.qe_identity and _qe_identity(found.qe_identity),
            "root_ca_crl": found.root_crl and _revocation_list(found.root_crl),
            "pck_crl": found.pck_crl and _revocation_list(found.pck_crl),
        },
        "tcb": {
            "status": found.tcb_status and str(found.tcb_status),
            "compared_levels": [
                _compared(level, found.tcb_info) for level in found.compared_levels if found.tcb_info is not None
            ],
            "qe_level": found.qe_level and _qe_level(found.qe_level),
        },
        "unreadable": _unreadable(found.unreadable),
    }


def snp_document(found: "SnpFindings", policy: "AnyPolicy | AllOfPolicy", *, verified: bool) -> Document:
    """All that a report and its endorsements say, and how its TCB versions compare with the policy's minimums.

    Those of a composed policy are the minimums of its first member for SEV-SNP. For verified evidence it is the first
    whose minimums the report reaches, since no other can have accepted it.
    """
    compared = [_compared_tcbs(found, member) for member in _snp_members(policy)]
    reached = [tcbs for tcbs in compared if not any(tcb["below"] for tcb in tcbs.values())]
    return {
        "verified": verified,
        "tee": "snp",
        "report": found.report and _report(found.report),
        "key": found.key and _key(found.key),
        "chain": [_certificate(each) for each in found.chain],
        "revocation_list": found.revocation_list and _revocation_list(found.revocation_list),
        "tcb": next(iter(reached if verified else compared), _compared_tcbs(found, None)),
        "unreadable": _unreadable(found.unreadable),
    }


def _snp_members(policy: "AnyPolicy | AllOfPolicy") -> "list[SnpPolicy]":
    """The policies for SEV-SNP of which this one is made, in their order."""
    from casemate.verifier import AllOfPolicy, AnyOfPolicy, SnpPolicy

    if isinstance(policy, AllOfPolicy | AnyOfPolicy):
        return [member for each in policy.members for member in _snp_members(each)]
    return [policy] if isinstance(policy, SnpPolicy) else []


def _compared_tcbs(found: "SnpFindings", policy: "SnpPolicy | None") -> dict[str, Document]:
    return {name: _against(tcb, getattr(policy, f"{name}_tcb", None)) for name, tcb in found.tcbs.items()}


def found_tree(document: Document) -> "Tree":
    """A document of findings as a tree, for a person."""
    from rich.text import Text
    from rich.tree import Tree

    title = "found" if document["verified"] else "found (unverified)"
    tree = Tree(Text(title, style="bold"))
    _grow(tree, document)
    return tree


def plain(value: object) -> object:
    """A wire value as JSON has it, member by member."""
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return date_text(value.astimezone(UTC))
        case IntFlag():
            return [flag.name for flag in type(value) if flag in value]
        case Enum():
            return value.value if isinstance(value, str) else value.name
        case tuple():
            return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _quote(quote: "Quote") -> Document:
    signature_data = quote.signature_data
    return {
        "header": plain(quote.header),
        "body": plain(quote.body),
        "qe_report": plain(signature_data.qe_report),
        "attestation_key": signature_data.attestation_key.hex(),
        "qe_authentication_data": signature_data.qe_authentication_data.hex(),
        "certification_data_type": signature_data.certification_data.kind.name,
    }


def _pck(pck: "PckExtension") -> Document:
    platform = pck.platform
    return {
        "ppid": pck.ppid.hex(),
        "pce_id": pck.pce_id.hex(),
        "fmspc": pck.fmspc.hex(),
        "sgx_type": pck.sgx_type.name,
        "components": list(pck.tcb.components),
        "pce_svn": pck.tcb.pce_svn,
        "cpu_svn": pck.tcb.cpu_svn.hex(),
        "platform_instance_id": platform and platform.instance_id.hex(),
        "configuration": platform and plain(platform.configuration),
    }


def _tcb_info(info: "TcbInfo") -> Document:
    members = ("id", "version", "issue_date", "next_update", "fmspc", "pce_id", "tcb_type")
    said: Document = {name: plain(getattr(info, name)) for name in members}
    return said | {"evaluation_number": info.tcb_evaluation_data_number, "levels": len(info.tcb_levels)}


def _qe_identity(identity: "QeIdentity") -> Document:
    return {
        "id": identity.id,
        "version": identity.version,
        "issue_date": plain(identity.issue_date),
        "next_update": plain(identity.next_update),
        "evaluation_number": identity.tcb_evaluation_data_number,
        "mr_signer": identity.mr_signer.hex(),
        "isv_prod_id": identity.isv_prod_id,
        "misc_select": f"{identity.misc_select:#010x}",
        "misc_select_mask": f"{identity.misc_select_mask:#010x}",
        "attributes": identity.attributes.hex(),
        "attributes_mask": identity.attributes_mask.encode().hex(),
        "levels": [_qe_level(level) for level in identity.tcb_levels],
    }


def _qe_level(level: "QeTcbLevel") -> Document:
    return {
        "isv_svn": level.isv_svn,
        "status": str(level.status),
        "tcb_date": plain(level.tcb_date),
        "advisories": list(level.advisory_ids),
    }


def _compared(compared: "ComparedLevel", info: "TcbInfo") -> Document:
    level, names = compared.level, info.component_names()
    short = []
    for shortfall in compared.shortfalls:
        name = None if shortfall.component is None else names[shortfall.component - 1]
        short.append(
            {
                "component": "pce_svn" if shortfall.component is None else shortfall.component,
                "category": (name and name.category) or None,
                "type": (name and name.type) or None,
                "got": shortfall.got,
                "want": shortfall.want,
            }
        )
    return {
        "status": str(level.status),
        "tcb_date": plain(level.tcb_date),
        "advisories": list(level.advisory_ids),
        "components": list(level.components),
        "pce_svn": level.pce_svn,
        "reached": not short,
        "short": short,
    }


def _report(report: "SnpReport") -> Document:
    said = {field.name: plain(getattr(report, field.name)) for field in fields(report)}
    try:
        signing_key = report.signing_key.name
    except WireError:
        signing_key = "UNKNOWN"
    said["policy"] = {
        "value": f"{report.policy:#x}",
        "abi": f"{report.policy >> 8 & 0xFF}.{report.policy & 0xFF}",
        "bits": _bits(report.policy & ~_ABI_BITS, GuestPolicy),
        "unknown_bits": f"{report.policy & ~_ABI_BITS & ~sum(GuestPolicy):#x}",
    }
    said["platform_info"] = {
        "value": f"{report.platform_info:#x}",
        "bits": _bits(report.platform_info, PlatformInfo),
        "unknown_bits": f"{report.platform_info & ~sum(PlatformInfo):#x}",
    }
    return said | {
        "signing_key": signing_key,
        "mask_chip_key": report.masks_chip_key,
        "author_key_en": report.has_author_key,
        "chip_id_hidden": not any(report.chip_id),
    }


def _key(key: "KeyCertificate") -> Document:
    return {
        "product": str(key.product),
        "hw_id": plain(key.hw_id),
        "csp_id": key.csp_id,
        "tcb": _parts(key.tcb),
    }


def _bits(value: int, names: type[IntFlag]) -> list[str]:
    return [flag.name or "" for flag in names if value & flag]


def _parts(tcb: TcbVersion) -> Document:
    return {part: getattr(tcb, part) for part in PARTS[tcb.product]}


def _against(tcb: TcbVersion, minimum: object) -> Document:
    """A TCB version, the policy's minimum for its product, and the parts that are below."""
    from casemate.verifier.snp.policy import floor_for

    said: Document = {"raw": tcb.encode().hex(), "parts": _parts(tcb)}
    minimum = floor_for(minimum, tcb.product) if isinstance(minimum, tuple) else minimum
    if not isinstance(minimum, TcbVersion):
        return said | {"minimum": plain(minimum), "below": []}
    below = tcb.parts_below(minimum) if tcb.product is minimum.product else ()
    return said | {
        "minimum": {"product": str(minimum.product)} | _parts(minimum),
        "below": [{"part": part, "got": getattr(tcb, part), "want": getattr(minimum, part)} for part in below],
    }


def _certificate(certificate: "Certificate | AmdCertificate") -> Document:
    return {
        "common_name": certificate.common_name,
        "serial": f"{certificate.serial:x}",
        "not_before": plain(certificate.not_before),
        "not_after": plain(certificate.not_after),
        "sha256": certificate.sha256.hex(),
        "key_sha256": certificate.key_sha256.hex(),
        "simulated": certificate.simulated_extension is not None,
    }


def _revocation_list(crl: "RevocationList | AmdRevocationList") -> Document:
    return {
        "this_update": plain(crl.this_update),
        "next_update": plain(crl.next_update),
        "revoked": len(crl.serials),
    }


def _unreadable(errors: "tuple[WireError, ...]") -> list[Document]:
    return [{"field": error.field, "got": str(error.got), "want": str(error.want)} for error in errors]


def _grow(branch: "Tree", document: Document) -> None:
    from rich.text import Text

    for name, value in document.items():
        inner = _inner(value)
        if inner is None:
            words = ", ".join(map(_word, value)) if isinstance(value, list) else _word(value)
            branch.add(Text.assemble((name, "cyan"), f"  {words or 'none'}"))
        else:
            _grow(branch.add(Text(name, style="bold cyan")), inner)


def _inner(value: object) -> Document | None:
    """The members below one member: an object's by name, a list's by number; None for plain values."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {str(number): item for number, item in enumerate(value)}
    return None


def _word(value: object) -> str:
    if value is None:
        return "not there"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else printable(str(value))
