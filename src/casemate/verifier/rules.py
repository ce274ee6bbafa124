"""Every rule of the verifier: its stable name, what it demands, and where that is written down."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """The rules' names: part of the public interface, never reused for something else."""

    QUOTE_FORMAT = "quote.format"
    QUOTE_VERSION = "quote.version"
    QUOTE_KEY_TYPE = "quote.attestation-key-type"
    QUOTE_TEE_TYPE = "quote.tee-type"
    QUOTE_QE_VENDOR = "quote.qe-vendor"
    QUOTE_CERTIFICATION_DATA = "quote.certification-data"
    CHAIN_FORMAT = "chain.format"
    CHAIN_PATH = "chain.path"
    CHAIN_SIMULATED = "chain.simulated"
    CHAIN_ROOT = "chain.root"
    CHAIN_SEEDED = "chain.seeded"
    CHAIN_ROLE = "chain.role"
    CHAIN_ALGORITHM = "chain.algorithm"
    CHAIN_SIGNATURE = "chain.signature"
    CHAIN_CRITICAL = "chain.critical-extension"
    CHAIN_CONSTRAINTS = "chain.basic-constraints"
    CHAIN_KEY_USAGE = "chain.key-usage"
    CHAIN_VALIDITY = "chain.validity"
    PCK_EXTENSION = "pck.extension"
    QE_REPORT_SIGNATURE = "qe.report-signature"
    QE_ATTESTATION_KEY = "qe.attestation-key"
    QE_DEBUG = "qe.debug"
    QUOTE_SIGNATURE = "quote.signature"
    COLLATERAL_PRESENT = "collateral.present"
    CRL_FORMAT = "crl.format"
    CRL_ISSUER = "crl.issuer"
    CRL_SIGNATURE = "crl.signature"
    CRL_WINDOW = "crl.window"
    REVOKED_PCK = "revoked.pck"
    REVOKED_PCK_CA = "revoked.pck-ca"
    REVOKED_TCB_SIGNING = "revoked.tcb-signing"
    TCB_INFO_SIGNATURE = "tcb-info.signature"
    TCB_INFO_FORMAT = "tcb-info.format"
    TCB_INFO_ID = "tcb-info.id"
    TCB_INFO_VERSION = "tcb-info.version"
    TCB_INFO_TYPE = "tcb-info.type"
    TCB_INFO_WINDOW = "tcb-info.window"
    TCB_INFO_EVALUATION = "tcb-info.evaluation-number"
    TCB_INFO_FMSPC = "tcb-info.fmspc"
    TCB_INFO_PCE_ID = "tcb-info.pce-id"
    QE_IDENTITY_SIGNATURE = "qe-identity.signature"
    QE_IDENTITY_FORMAT = "qe-identity.format"
    QE_IDENTITY_ID = "qe-identity.id"
    QE_IDENTITY_VERSION = "qe-identity.version"
    QE_IDENTITY_WINDOW = "qe-identity.window"
    QE_IDENTITY_EVALUATION = "qe-identity.evaluation-number"
    QE_MR_SIGNER = "qe.mr-signer"
    QE_PRODUCT_ID = "qe.product-id"
    QE_MISC_SELECT = "qe.misc-select"
    QE_ATTRIBUTES = "qe.attributes"
    QE_LEVEL = "qe.level"
    TCB_LEVEL = "tcb.level"
    TCB_STATUS = "tcb.status"
    TCB_ADVISORIES = "tcb.advisories"
    TCB_DATE = "tcb.date"
    PLATFORM_DYNAMIC = "platform.dynamic"
    PLATFORM_CACHED_KEYS = "platform.cached-keys"
    PLATFORM_SMT = "platform.smt"
    ENCLAVE_DEBUG = "enclave.debug"
    ENCLAVE_MR_ENCLAVE = "enclave.mr-enclave"
    ENCLAVE_MR_SIGNER = "enclave.mr-signer"
    ENCLAVE_PRODUCT_ID = "enclave.product-id"
    ENCLAVE_SVN = "enclave.svn"
    EVIDENCE_KIND = "evidence.kind"
    POLICY_ANY_OF = "policy.any-of"
    POLICY_ALL_OF = "policy.all-of"
    POLICY_ONE_CODE = "policy.one-code"
    BINDING_NONCE = "binding.nonce"
    BINDING_VALUES = "binding.values"
    BINDING_REPORT_DATA = "binding.report-data"
    SANDBOX_ENCLAVE = "sandbox.enclave"
    SANDBOX_GUEST = "sandbox.guest"
    RA_TLS_FORMAT = "ra-tls.format"
    RA_TLS_SIGNATURE = "ra-tls.signature"
    RA_TLS_VALIDITY = "ra-tls.validity"
    RA_TLS_EVIDENCE = "ra-tls.evidence"
    RA_TLS_PUBLIC_KEY = "ra-tls.public-key"
    RA_TLS_NONCE = "ra-tls.nonce"
    SNP_REPORT_FORMAT = "snp.report-format"
    SNP_SIGNATURE_ALGORITHM = "snp.signature-algorithm"
    SNP_SIGNING_KEY = "snp.signing-key"
    SNP_KEY_EXTENSIONS = "snp.key-extensions"
    SNP_PRODUCT = "snp.product"
    SNP_CHIP_ID = "snp.chip-id"
    SNP_TCB_FORMAT = "snp.tcb-format"
    SNP_KEY_TCB = "snp.key-tcb"
    SNP_SIGNATURE = "snp.signature"
    REVOKED_SNP_SIGNER = "revoked.snp-signer"
    SNP_TCB_REPORTED = "snp.tcb-reported"
    SNP_TCB_COMMITTED = "snp.tcb-committed"
    SNP_TCB_LAUNCH = "snp.tcb-launch"
    SNP_TCB_CURRENT = "snp.tcb-current"
    SNP_TCB_ORDER = "snp.tcb-order"
    SNP_FIRMWARE_ORDER = "snp.firmware-order"
    SNP_PROVISIONAL = "snp.provisional-firmware"
    SNP_DEBUG = "snp.debug"
    SNP_MIGRATION = "snp.migration"
    SNP_SMT = "snp.smt"
    SNP_SOCKET = "snp.single-socket"
    SNP_ABI = "snp.abi"
    SNP_GUEST_POLICY = "snp.guest-policy"
    SNP_PLATFORM_INFO = "snp.platform-info"
    SNP_MITIGATIONS = "snp.mitigations"
    SNP_VMPL = "snp.vmpl"
    SNP_GUEST_SVN = "snp.guest-svn"
    SNP_MEASUREMENT = "snp.measurement"
    SNP_HOST_DATA = "snp.host-data"
    SNP_ID_KEY = "snp.id-key"
    SNP_AUTHOR_KEY = "snp.author-key"
    SNP_FAMILY_ID = "snp.family-id"
    SNP_IMAGE_ID = "snp.image-id"
    SNP_REPORT_ID = "snp.report-id"


@dataclass(frozen=True, slots=True)
class RuleText:
    """One line of the rule table."""

    demand: str
    """What must hold, in one sentence."""
    source: str
    """Document and section; Casemate's own rules say so."""


_QUOTE = "Intel ECDSA Quote Library API, A.4"
_X509 = "RFC 5280, section 6.1"
_PROFILE = "Intel SGX PCK Certificate and CRL Profile 1.5"
_TCB_INFO = 'Intel PCS API v4, "Get SGX TCB Info"'
_QE_IDENTITY = 'Intel PCS API v4, "Get SGX Quoting Enclave Identity"'
_REPORT = "Intel SDM vol. 3D, 38.15 REPORT"
_POLICY = "the policy"
_BINDING = "Casemate, wire.protocol.report_data"
_SNP = "AMD 56860, ATTESTATION_REPORT"
_SNP_TCB = "AMD 56860, chapter 3 and SNP_CONFIG"
_KDS = "AMD 57230, table 8"
_REVOKED = "RFC 5280, section 6.3.3 (i)"
_SANDBOX = "Casemate, wire.protocol.sandbox_layers"
_RA_TLS = "CCC, Interoperable RA-TLS X.509 Cert and Evidence Formats"

RULES: dict[Rule, RuleText] = {
    Rule.QUOTE_FORMAT: RuleText("The quote is in the format, to its last byte.", _QUOTE),
    Rule.QUOTE_VERSION: RuleText("The quote is of version 3.", f"{_QUOTE}, table 3"),
    Rule.QUOTE_KEY_TYPE: RuleText("The attestation key is ECDSA on P-256.", f"{_QUOTE}, table 3"),
    Rule.QUOTE_TEE_TYPE: RuleText("The quote is of an SGX enclave.", f"{_QUOTE}, table 3"),
    Rule.QUOTE_QE_VENDOR: RuleText("The quoting enclave is of Intel's make.", f"{_QUOTE}, table 3"),
    Rule.QUOTE_CERTIFICATION_DATA: RuleText("The quote carries its PCK certificate chain.", f"{_QUOTE}, table 9"),
    Rule.CHAIN_FORMAT: RuleText("The chain is made of X.509 certificates, in PEM.", "RFC 7468; RFC 5280, section 4.1"),
    Rule.CHAIN_PATH: RuleText("Each certificate's issuer is there, up to a root; none is left over.", _X509),
    Rule.CHAIN_SIMULATED: RuleText(
        "Below a root that the policy names as simulated, every certificate is marked SIMULATED, a chip's optionally; "
        "below any other root none is.",
        "Casemate, wire.protocol.simulated_mark",
    ),
    Rule.CHAIN_ROOT: RuleText(
        "The chain ends in the root that the policy names, byte for byte or by name and key.",
        f"{_POLICY}; RFC 5280, section 6.1.1 (d)",
    ),
    Rule.CHAIN_SEEDED: RuleText(
        "No certificate says (by its mark, a chip's by its serial number) that it was made from a public seed, unless "
        "the policy says UNSAFE_PUBLIC_SEED.",
        "Casemate, wire.protocol.simulated_mark",
    ),
    Rule.CHAIN_ROLE: RuleText("Each certificate has the name of its role.", _PROFILE),
    Rule.CHAIN_ALGORITHM: RuleText("Keys are on P-256, signatures are ECDSA with SHA-256.", _PROFILE),
    Rule.CHAIN_SIGNATURE: RuleText("Each certificate is signed by its issuer's key.", f"{_X509}.3 (a)(1)"),
    Rule.CHAIN_CRITICAL: RuleText("No critical extension is unknown.", f"{_X509}.4 (o)"),
    Rule.CHAIN_CONSTRAINTS: RuleText(
        "Issuers are CAs with room for those below them; the others are none.", f"{_X509}.4 (k) to (m)"
    ),
    Rule.CHAIN_KEY_USAGE: RuleText("Each key may do what it did.", f"{_X509}.4 (n)"),
    Rule.CHAIN_VALIDITY: RuleText("Each certificate is valid now.", f"{_X509}.3 (a)(2)"),
    Rule.PCK_EXTENSION: RuleText("The PCK certificate carries Intel's SGX extension.", f"{_PROFILE}, 1.3.5"),
    Rule.QE_REPORT_SIGNATURE: RuleText("The PCK signed the quoting enclave's report.", f"{_QUOTE}, table 4"),
    Rule.QE_ATTESTATION_KEY: RuleText(
        "The quoting enclave's report vouches for the attestation key and the authentication data.",
        f"{_QUOTE}, table 4",
    ),
    Rule.QE_DEBUG: RuleText("The quoting enclave is not under a debugger.", _REPORT),
    Rule.QUOTE_SIGNATURE: RuleText("The attestation key signed header and body.", f"{_QUOTE}, table 4"),
    Rule.COLLATERAL_PRESENT: RuleText("There is collateral: without it nobody knows what a TCB is worth.", _TCB_INFO),
    Rule.CRL_FORMAT: RuleText("Revocation lists are X.509 CRLs without unknown critical parts.", "RFC 5280, section 5"),
    Rule.CRL_ISSUER: RuleText("Each revocation list is by the CA whose certificates it is about.", f"{_PROFILE}, 1.4"),
    Rule.CRL_SIGNATURE: RuleText("Each revocation list is signed by its issuer.", "RFC 5280, section 6.3.3 (g)"),
    Rule.CRL_WINDOW: RuleText("Each revocation list is current.", "RFC 5280, sections 5.1.2.4 and 5.1.2.5"),
    Rule.REVOKED_PCK: RuleText("The PCK certificate is not revoked.", _REVOKED),
    Rule.REVOKED_PCK_CA: RuleText("The PCK CA's certificate is not revoked.", _REVOKED),
    Rule.REVOKED_TCB_SIGNING: RuleText("The TCB signing certificates are not revoked.", _REVOKED),
    Rule.TCB_INFO_SIGNATURE: RuleText("The TCB signing key signed the TCB info, byte for byte.", _TCB_INFO),
    Rule.TCB_INFO_FORMAT: RuleText("The TCB info is in its format.", f"{_TCB_INFO}, TCBInfoV3"),
    Rule.TCB_INFO_ID: RuleText("The TCB info is about SGX.", f"{_TCB_INFO}, id"),
    Rule.TCB_INFO_VERSION: RuleText("The TCB info is of version 3.", f"{_TCB_INFO}, version"),
    Rule.TCB_INFO_TYPE: RuleText("The TCB's components are to be compared as type 0 says.", f"{_TCB_INFO}, tcbType"),
    Rule.TCB_INFO_WINDOW: RuleText("The TCB info is current.", f"{_TCB_INFO}, issueDate and nextUpdate"),
    Rule.TCB_INFO_EVALUATION: RuleText(
        "The TCB info is of the evaluation that the policy wants, or of a later one.",
        f"{_TCB_INFO}, tcbEvaluationDataNumber",
    ),
    Rule.TCB_INFO_FMSPC: RuleText("The TCB info is about this kind of platform.", f"{_TCB_INFO}, fmspc"),
    Rule.TCB_INFO_PCE_ID: RuleText("The TCB info is about this provisioning enclave.", f"{_TCB_INFO}, pceId"),
    Rule.QE_IDENTITY_SIGNATURE: RuleText("The TCB signing key signed the QE identity, byte for byte.", _QE_IDENTITY),
    Rule.QE_IDENTITY_FORMAT: RuleText("The QE identity is in its format.", f"{_QE_IDENTITY}, EnclaveIdentityV2"),
    Rule.QE_IDENTITY_ID: RuleText("The QE identity is of the SGX quoting enclave.", f"{_QE_IDENTITY}, id"),
    Rule.QE_IDENTITY_VERSION: RuleText("The QE identity is of version 2.", f"{_QE_IDENTITY}, version"),
    Rule.QE_IDENTITY_WINDOW: RuleText("The QE identity is current.", f"{_QE_IDENTITY}, issueDate and nextUpdate"),
    Rule.QE_IDENTITY_EVALUATION: RuleText(
        "The QE identity is of the evaluation that the policy wants, or of a later one.",
        f"{_QE_IDENTITY}, tcbEvaluationDataNumber",
    ),
    Rule.QE_MR_SIGNER: RuleText("The quoting enclave is by its maker.", f"{_QE_IDENTITY}, mrsigner"),
    Rule.QE_PRODUCT_ID: RuleText("The quoting enclave is a quoting enclave.", f"{_QE_IDENTITY}, isvprodid"),
    Rule.QE_MISC_SELECT: RuleText("Its MISCSELECT is right under the mask.", f"{_QE_IDENTITY}, miscselectMask"),
    Rule.QE_ATTRIBUTES: RuleText("Its ATTRIBUTES are right under the mask.", f"{_QE_IDENTITY}, attributesMask"),
    Rule.QE_LEVEL: RuleText("Its ISVSVN reaches one of the published levels.", f"{_QE_IDENTITY}, tcbLevels"),
    Rule.TCB_LEVEL: RuleText("The platform's SVNs reach one of the published levels.", f"{_TCB_INFO}, tcbLevels"),
    Rule.TCB_STATUS: RuleText("The status of platform and quoting enclave together is an accepted one.", _POLICY),
    Rule.TCB_ADVISORIES: RuleText("Every advisory against the TCB is one the policy accepts at this status.", _POLICY),
    Rule.TCB_DATE: RuleText("The TCB level is not older than the policy wants.", f"{_TCB_INFO}, tcbDate"),
    Rule.PLATFORM_DYNAMIC: RuleText("The platform is not dynamic, unless the policy allows it.", f"{_PROFILE}, 1.3.5"),
    Rule.PLATFORM_CACHED_KEYS: RuleText("Its keys are not cached, unless the policy allows it.", f"{_PROFILE}, 1.3.5"),
    Rule.PLATFORM_SMT: RuleText("Hyperthreading is off, unless the policy allows it.", f"{_PROFILE}, 1.3.5"),
    Rule.ENCLAVE_DEBUG: RuleText("The enclave is not under a debugger, unless UNSAFE_ALLOW_DEBUG.", _REPORT),
    Rule.ENCLAVE_MR_ENCLAVE: RuleText("The enclave's code is one that the policy names.", f"{_REPORT}, MRENCLAVE"),
    Rule.ENCLAVE_MR_SIGNER: RuleText("The enclave's signer is one that the policy names.", f"{_REPORT}, MRSIGNER"),
    Rule.ENCLAVE_PRODUCT_ID: RuleText("The enclave is the product that the policy names.", f"{_REPORT}, ISVPRODID"),
    Rule.ENCLAVE_SVN: RuleText("The enclave is of the version that the policy wants, or later.", f"{_REPORT}, ISVSVN"),
    Rule.EVIDENCE_KIND: RuleText("The evidence is of the kind of TEE that the policy is for.", "RFC 9334, section 8.5"),
    Rule.POLICY_ANY_OF: RuleText("One of the policies in `any_of` accepts the evidence.", _POLICY),
    Rule.POLICY_ALL_OF: RuleText(
        "Each of the policies in `all_of` accepts a piece of evidence of its own, and there is no other piece.", _POLICY
    ),
    Rule.POLICY_ONE_CODE: RuleText(
        "All evidence is of one code: of one pair of MRENCLAVE and launch digest that the policy names.", _POLICY
    ),
    Rule.BINDING_NONCE: RuleText("The policy holds the challenger's nonce.", _BINDING),
    Rule.BINDING_VALUES: RuleText("The evidence tells the keys and layers that REPORTDATA is to vouch for.", _BINDING),
    Rule.BINDING_REPORT_DATA: RuleText("REPORTDATA is what the policy expects.", _BINDING),
    Rule.SANDBOX_ENCLAVE: RuleText("The layers that the policy wants are around the enclave's process.", _SANDBOX),
    Rule.SANDBOX_GUEST: RuleText("The layers that the policy wants are around the guest's process.", _SANDBOX),
    Rule.RA_TLS_FORMAT: RuleText("The certificate is X.509, and no extension is unknown and critical.", _X509),
    Rule.RA_TLS_SIGNATURE: RuleText(
        "The certificate is signed by its own key, on P-256 or P-384.", f"{_RA_TLS}; RFC 5480, section 2.1.1"
    ),
    Rule.RA_TLS_VALIDITY: RuleText("The certificate is valid now.", f"{_X509}.3 (a)(2)"),
    Rule.RA_TLS_EVIDENCE: RuleText("The certificate carries evidence, under one of the OIDs for it.", _RA_TLS),
    Rule.RA_TLS_PUBLIC_KEY: RuleText(
        "The evidence is for the certificate's own key: its claims hold the key's hash.",
        f'{_RA_TLS}, "Evidence Custom Claims"',
    ),
    Rule.RA_TLS_NONCE: RuleText(
        "The claims hold the challenger's nonce, where the policy has one; else the handshake shows freshness.",
        f'{_RA_TLS}, "Evidence Custom Claims"',
    ),
    Rule.SNP_REPORT_FORMAT: RuleText("The report is in the format of a known version, 1184 bytes.", _SNP),
    Rule.SNP_SIGNATURE_ALGORITHM: RuleText("The report is signed with ECDSA on P-384 and SHA-384.", _SNP),
    Rule.SNP_SIGNING_KEY: RuleText(
        "The kind of key that signed is one the policy accepts, and the certificate is of that kind.", _SNP
    ),
    Rule.SNP_KEY_EXTENSIONS: RuleText("The key's certificate says for which product, chip and TCB it is.", _KDS),
    Rule.SNP_PRODUCT: RuleText("Chain, key and report are of one product.", _KDS),
    Rule.SNP_CHIP_ID: RuleText(
        "The report is of the chip whose key signed it, or hides its chip; and of one that the policy names.",
        _KDS,
    ),
    Rule.SNP_TCB_FORMAT: RuleText("The report's TCB versions are of the product's layout.", _SNP),
    Rule.SNP_KEY_TCB: RuleText("The key was derived for the TCB that the report names.", _KDS),
    Rule.SNP_SIGNATURE: RuleText("The key signed the report.", _SNP),
    Rule.REVOKED_SNP_SIGNER: RuleText("Neither the key's certificate nor its issuer's is revoked.", _REVOKED),
    Rule.SNP_TCB_REPORTED: RuleText("The reported TCB reaches the policy's floor.", _SNP),
    Rule.SNP_TCB_COMMITTED: RuleText(
        "The committed TCB reaches the policy's floor: the platform cannot go back below it.", _SNP
    ),
    Rule.SNP_TCB_LAUNCH: RuleText("The TCB at launch reaches the policy's floor.", _SNP),
    Rule.SNP_TCB_CURRENT: RuleText("The current TCB reaches the policy's floor.", _SNP),
    Rule.SNP_TCB_ORDER: RuleText("Neither the committed nor the reported TCB is above the current one.", _SNP_TCB),
    Rule.SNP_FIRMWARE_ORDER: RuleText("The committed firmware is no newer than the current one.", _SNP_TCB),
    Rule.SNP_PROVISIONAL: RuleText(
        "The firmware is committed: it cannot be rolled back, unless the policy allows that.", _SNP
    ),
    Rule.SNP_DEBUG: RuleText("The guest's policy forbids debugging, unless UNSAFE_ALLOW_DEBUG.", _SNP),
    Rule.SNP_MIGRATION: RuleText(
        "The guest's policy forbids a migration agent, and there is none, unless ANY_MIGRATION.", _SNP
    ),
    Rule.SNP_SMT: RuleText("The guest's policy forbids SMT, unless the policy allows it.", _SNP),
    Rule.SNP_SOCKET: RuleText("The guest's policy keeps it on one socket, unless the policy does not care.", _SNP),
    Rule.SNP_ABI: RuleText("The guest's policy wants an ABI version that reaches the policy's floor.", _SNP),
    Rule.SNP_GUEST_POLICY: RuleText("The guest's policy has no unknown bit that the policy does not name.", _SNP),
    Rule.SNP_PLATFORM_INFO: RuleText("The machine is set up as the policy demands.", _SNP),
    Rule.SNP_MITIGATIONS: RuleText("The mitigations that the policy names were there at launch, and are now.", _SNP),
    Rule.SNP_VMPL: RuleText("The report was asked for at a privilege level that the policy names.", _SNP),
    Rule.SNP_GUEST_SVN: RuleText("The guest is of the version that the policy wants, or later.", _SNP),
    Rule.SNP_MEASUREMENT: RuleText("The launch digest is one that the policy names.", _SNP),
    Rule.SNP_HOST_DATA: RuleText("HOST_DATA is what the policy names.", _SNP),
    Rule.SNP_ID_KEY: RuleText("The key that signed the id block is one that the policy names.", _SNP),
    Rule.SNP_AUTHOR_KEY: RuleText("The author's key is one that the policy names.", _SNP),
    Rule.SNP_FAMILY_ID: RuleText("FAMILY_ID is what the policy names.", _SNP),
    Rule.SNP_IMAGE_ID: RuleText("IMAGE_ID is what the policy names.", _SNP),
    Rule.SNP_REPORT_ID: RuleText("The report is of a launch of the guest that the policy names.", _SNP),
}


COMPOSITION_RULES = frozenset(rule for rule in Rule if rule.startswith("policy.")) | {Rule.EVIDENCE_KIND}
"""Those of policies that are made of policies, and of a policy for the wrong kind of evidence."""

SNP_RULES = frozenset(rule for rule in Rule if rule.startswith("snp.")) | {Rule.REVOKED_SNP_SIGNER}
"""Those that only SEV-SNP reports are judged by."""

RA_TLS_RULES = frozenset(rule for rule in Rule if rule.startswith("ra-tls."))
"""Those that only certificates with evidence are judged by."""


def rules_page() -> str:
    """The documentation page of all rules, in Markdown."""
    lines = [
        "# Rules of the verifier",
        "",
        "<!-- Written by scripts/verifier-rules from casemate.verifier.rules; do not edit. -->",
        "",
        "`appraise` checks them in this order and refuses at the first that does not hold; `explain` shows all.",
        "The `chain.*` rules apply to each chain: the quote's, TCB info's, QE identity's, and the PCK CRL issuer's.",
        "For certificates with evidence, `appraise_certificate` checks the `ra-tls.*` rules first.",
        "For SEV-SNP reports, `appraise_snp` checks the `snp.*` rules, and those of chains, lists and report data.",
        "",
        "| rule | what it demands | where that is written |",
        "| --- | --- | --- |",
        *(f"| `{rule}` | {text.demand} | {text.source} |" for rule, text in RULES.items()),
    ]
    return "\n".join(lines) + "\n"
