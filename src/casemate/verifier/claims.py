"""Verified evidence as JSON, for programs that decide by it."""

from typing import Any

from casemate.verifier.either import AnyVerifiedEvidence
from casemate.verifier.sgx.evidence import VerifiedSgxEvidence
from casemate.verifier.snp.evidence import VerifiedSnpEvidence
from casemate.wire.protocol.sandbox_layers_json import layers_document

Claims = dict[str, Any]


def evidence_document(evidence: AnyVerifiedEvidence) -> Claims:
    """Verified evidence as the command line's ``--json`` has it: what most policies are about."""
    return _sgx_document(evidence) if isinstance(evidence, VerifiedSgxEvidence) else _snp_document(evidence)


def claims_of(evidence: AnyVerifiedEvidence) -> Claims:
    """All that verified evidence says, with the keys that its REPORTDATA binds; null where it binds none."""
    bound = evidence.binding
    more = _more_of_sgx(evidence) if isinstance(evidence, VerifiedSgxEvidence) else _more_of_snp(evidence)
    return {
        **evidence_document(evidence),
        **more,
        "evidence_sha256": evidence.evidence_hash.hex(),
        "hpke_key": None if bound is None else bound.hpke_key.hex(),
        "receipt_key": None if bound is None else bound.receipt_key.hex(),
        "nonce": None if bound is None else bound.nonce.hex(),
        "collateral_issued_at": evidence.marks.newest.isoformat(),
    }


def _sgx_document(evidence: VerifiedSgxEvidence) -> Claims:
    return {
        "tee": "sgx",
        "mr_enclave": evidence.mr_enclave.hex(),
        "mr_signer": evidence.report.mr_signer.hex(),
        "product_id": evidence.report.isv_prod_id,
        "security_version": evidence.report.isv_svn,
        "debug": evidence.debug,
        "report_data": evidence.report.report_data.hex(),
        "quote_sha256": evidence.quote_hash.hex(),
        "tcb": {
            "status": str(evidence.tcb.status),
            "platform_status": str(evidence.tcb.platform_status),
            "qe_status": str(evidence.tcb.qe_status),
            "advisories": list(evidence.tcb.advisory_ids),
            "date": evidence.tcb.tcb_date.isoformat(),
            "evaluation_number": evidence.tcb.evaluation_number,
        },
        "root": evidence.root,
        "simulated": evidence.simulated,
        "seeded": evidence.seeded,
        "fmspc": evidence.platform.fmspc.hex(),
        "layers": None if evidence.binding is None else layers_document(evidence.binding.layers),
        "appraised_at": evidence.appraised_at.isoformat(),
        "expires_at": evidence.expires_at.isoformat(),
    }


def _snp_document(evidence: VerifiedSnpEvidence) -> Claims:
    return {
        "tee": "snp",
        "launch_digest": evidence.measurement.hex(),
        "paravirtual": evidence.is_paravirtual,
        "host_data": evidence.report.host_data.hex(),
        "report_data": evidence.report.report_data.hex(),
        "guest_svn": evidence.report.guest_svn,
        "policy": evidence.report.policy,
        "vmpl": evidence.report.vmpl,
        "id_key_digest": evidence.report.id_key_digest.hex(),
        "author_key_digest": evidence.report.author_key_digest.hex(),
        "product": str(evidence.product),
        "reported_tcb": evidence.reported_tcb.encode().hex(),
        "chip_id": evidence.report.chip_id.hex(),
        "report_sha256": evidence.report_hash.hex(),
        "root": evidence.root,
        "simulated": evidence.simulated,
        "seeded": evidence.seeded,
        "layers": None if evidence.binding is None else layers_document(evidence.binding.layers),
        "appraised_at": evidence.appraised_at.isoformat(),
        "expires_at": evidence.expires_at.isoformat(),
    }


def _more_of_sgx(evidence: VerifiedSgxEvidence) -> Claims:
    report, platform = evidence.report, evidence.platform
    of_platform_ca = platform.platform
    instance = None if of_platform_ca is None else of_platform_ca.instance_id
    return {
        "cpu_svn": report.cpu_svn.hex(),
        "attributes": f"{report.attributes.flags:#018x}",
        "xfrm": f"{report.attributes.xfrm:#018x}",
        "misc_select": f"{report.misc_select:#010x}",
        "config_id": report.config_id.hex(),
        "config_svn": report.config_svn,
        "family_id": report.isv_family_id.hex(),
        "extended_product_id": report.isv_ext_prod_id.hex(),
        "ppid": platform.ppid.hex(),
        "platform_instance": None if instance is None else instance.hex(),
    }


def _more_of_snp(evidence: VerifiedSnpEvidence) -> Claims:
    report = evidence.report
    return {
        "family_id": report.family_id.hex(),
        "image_id": report.image_id.hex(),
        "report_id": report.report_id.hex(),
        "platform_info": f"{report.platform_info:#018x}",
        "current_tcb": report.current_tcb.hex(),
        "committed_tcb": report.committed_tcb.hex(),
        "launch_tcb": report.launch_tcb.hex(),
    }
