"""Every rule of the verifier: its stable name, what it demands, and where that is written down."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

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


class Rule(StrEnum):
    """The rules' names: part of the public interface, never reused for something else. In the order of the checks."""

    demand: str
    """The rule's demand in one sentence."""
    source: str
    """Document and section; Casemate's own rules say so."""

    def __new__(cls, name: str, demand: str, source: str) -> Self:
        rule = str.__new__(cls, name)
        rule._value_ = name
        rule.demand = demand
        rule.source = source
        return rule

    QUOTE_FORMAT = ("quote.format", "The quote is in the format, to its last byte.", _QUOTE)
    QUOTE_VERSION = ("quote.version", "The quote is of version 3.", f"{_QUOTE}, table 3")
    QUOTE_KEY_TYPE = ("quote.attestation-key-type", "The attestation key is ECDSA on P-256.", f"{_QUOTE}, table 3")
    QUOTE_TEE_TYPE = ("quote.tee-type", "The quote is of an SGX enclave.", f"{_QUOTE}, table 3")
    QUOTE_QE_VENDOR = ("quote.qe-vendor", "The quoting enclave is of Intel's make.", f"{_QUOTE}, table 3")
    QUOTE_CERTIFICATION_DATA = (
        "quote.certification-data",
        "The quote carries its PCK certificate chain.",
        f"{_QUOTE}, table 9",
    )
    CHAIN_FORMAT = (
        "chain.format",
        "The chain is made of X.509 certificates, in PEM.",
        "RFC 7468; RFC 5280, section 4.1",
    )
    CHAIN_PATH = ("chain.path", "Each certificate's issuer is there, up to a root; none is left over.", _X509)
    CHAIN_SIMULATED = (
        "chain.simulated",
        (
            "Below a root that the policy names as simulated, every certificate is marked SIMULATED, a chip's "
            "optionally; below any other root none is."
        ),
        "Casemate, wire.protocol.simulated_mark",
    )
    CHAIN_ROOT = (
        "chain.root",
        "The chain ends in the root that the policy names, byte for byte or by name and key.",
        f"{_POLICY}; RFC 5280, section 6.1.1 (d)",
    )
    CHAIN_SEEDED = (
        "chain.seeded",
        (
            "No certificate says (by its mark, a chip's by its serial number) that it was made from a public seed, "
            "unless the policy says UNSAFE_PUBLIC_SEED."
        ),
        "Casemate, wire.protocol.simulated_mark",
    )
    CHAIN_ROLE = ("chain.role", "Each certificate has the name of its role.", _PROFILE)
    CHAIN_ALGORITHM = ("chain.algorithm", "Keys are on P-256, signatures are ECDSA with SHA-256.", _PROFILE)
    CHAIN_SIGNATURE = ("chain.signature", "Each certificate is signed by its issuer's key.", f"{_X509}.3 (a)(1)")
    CHAIN_CRITICAL = ("chain.critical-extension", "No critical extension is unknown.", f"{_X509}.4 (o)")
    CHAIN_CONSTRAINTS = (
        "chain.basic-constraints",
        "Issuers are CAs with room for those below them; the others are none.",
        f"{_X509}.4 (k) to (m)",
    )
    CHAIN_KEY_USAGE = ("chain.key-usage", "Each key may do what it did.", f"{_X509}.4 (n)")
    CHAIN_VALIDITY = ("chain.validity", "Each certificate is valid now.", f"{_X509}.3 (a)(2)")
    PCK_EXTENSION = ("pck.extension", "The PCK certificate carries Intel's SGX extension.", f"{_PROFILE}, 1.3.5")
    QE_REPORT_SIGNATURE = ("qe.report-signature", "The PCK signed the quoting enclave's report.", f"{_QUOTE}, table 4")
    QE_ATTESTATION_KEY = (
        "qe.attestation-key",
        "The quoting enclave's report vouches for the attestation key and the authentication data.",
        f"{_QUOTE}, table 4",
    )
    QE_DEBUG = ("qe.debug", "The quoting enclave is not under a debugger.", _REPORT)
    QUOTE_SIGNATURE = ("quote.signature", "The attestation key signed header and body.", f"{_QUOTE}, table 4")
    COLLATERAL_PRESENT = (
        "collateral.present",
        "There is collateral: without it nobody knows what a TCB is worth.",
        _TCB_INFO,
    )
    CRL_FORMAT = (
        "crl.format",
        "Revocation lists are X.509 CRLs without unknown critical parts.",
        "RFC 5280, section 5",
    )
    CRL_ISSUER = ("crl.issuer", "Each revocation list is by the CA whose certificates it is about.", f"{_PROFILE}, 1.4")
    CRL_SIGNATURE = ("crl.signature", "Each revocation list is signed by its issuer.", "RFC 5280, section 6.3.3 (g)")
    CRL_WINDOW = ("crl.window", "Each revocation list is current.", "RFC 5280, sections 5.1.2.4 and 5.1.2.5")
    REVOKED_PCK = ("revoked.pck", "The PCK certificate is not revoked.", _REVOKED)
    REVOKED_PCK_CA = ("revoked.pck-ca", "The PCK CA's certificate is not revoked.", _REVOKED)
    REVOKED_TCB_SIGNING = ("revoked.tcb-signing", "The TCB signing certificates are not revoked.", _REVOKED)
    TCB_INFO_SIGNATURE = ("tcb-info.signature", "The TCB signing key signed the TCB info, byte for byte.", _TCB_INFO)
    TCB_INFO_FORMAT = ("tcb-info.format", "The TCB info is in its format.", f"{_TCB_INFO}, TCBInfoV3")
    TCB_INFO_ID = ("tcb-info.id", "The TCB info is about SGX.", f"{_TCB_INFO}, id")
    TCB_INFO_VERSION = ("tcb-info.version", "The TCB info is of version 3.", f"{_TCB_INFO}, version")
    TCB_INFO_TYPE = (
        "tcb-info.type",
        "The TCB's components are to be compared as type 0 says.",
        f"{_TCB_INFO}, tcbType",
    )
    TCB_INFO_WINDOW = ("tcb-info.window", "The TCB info is current.", f"{_TCB_INFO}, issueDate and nextUpdate")
    TCB_INFO_EVALUATION = (
        "tcb-info.evaluation-number",
        "The TCB info is of the evaluation that the policy wants, or of a later one.",
        f"{_TCB_INFO}, tcbEvaluationDataNumber",
    )
    TCB_INFO_FMSPC = ("tcb-info.fmspc", "The TCB info is about this kind of platform.", f"{_TCB_INFO}, fmspc")
    TCB_INFO_PCE_ID = ("tcb-info.pce-id", "The TCB info is about this provisioning enclave.", f"{_TCB_INFO}, pceId")
    QE_IDENTITY_SIGNATURE = (
        "qe-identity.signature",
        "The TCB signing key signed the QE identity, byte for byte.",
        _QE_IDENTITY,
    )
    QE_IDENTITY_FORMAT = (
        "qe-identity.format",
        "The QE identity is in its format.",
        f"{_QE_IDENTITY}, EnclaveIdentityV2",
    )
    QE_IDENTITY_ID = ("qe-identity.id", "The QE identity is of the SGX quoting enclave.", f"{_QE_IDENTITY}, id")
    QE_IDENTITY_VERSION = ("qe-identity.version", "The QE identity is of version 2.", f"{_QE_IDENTITY}, version")
    QE_IDENTITY_WINDOW = (
        "qe-identity.window",
        "The QE identity is current.",
        f"{_QE_IDENTITY}, issueDate and nextUpdate",
    )
    QE_IDENTITY_EVALUATION = (
        "qe-identity.evaluation-number",
        "The QE identity is of the evaluation that the policy wants, or of a later one.",
        f"{_QE_IDENTITY}, tcbEvaluationDataNumber",
    )
    COLLATERAL_AGE = (
        "collateral.age",
        "What the maker issues anew for its platforms is not older than the policy wants.",
        f"{_POLICY}; {_TCB_INFO} and {_QE_IDENTITY}, issueDate; RFC 5280, section 5.1.2.4",
    )
    QE_MR_SIGNER = ("qe.mr-signer", "The quoting enclave is by its maker.", f"{_QE_IDENTITY}, mrsigner")
    QE_PRODUCT_ID = ("qe.product-id", "The quoting enclave is a quoting enclave.", f"{_QE_IDENTITY}, isvprodid")
    QE_MISC_SELECT = ("qe.misc-select", "Its MISCSELECT is right under the mask.", f"{_QE_IDENTITY}, miscselectMask")
    QE_ATTRIBUTES = ("qe.attributes", "Its ATTRIBUTES are right under the mask.", f"{_QE_IDENTITY}, attributesMask")
    QE_LEVEL = ("qe.level", "Its ISVSVN reaches one of the published levels.", f"{_QE_IDENTITY}, tcbLevels")
    TCB_LEVEL = ("tcb.level", "The platform's SVNs reach one of the published levels.", f"{_TCB_INFO}, tcbLevels")
    TCB_STATUS = ("tcb.status", "The status of platform and quoting enclave together is an accepted one.", _POLICY)
    TCB_ADVISORIES = (
        "tcb.advisories",
        "Every advisory against the TCB is one the policy accepts at this status.",
        _POLICY,
    )
    TCB_DATE = ("tcb.date", "The TCB level is not older than the policy wants.", f"{_TCB_INFO}, tcbDate")
    TCB_GRACE = (
        "tcb.recovery-grace",
        "A TCB that a recovery has put out of date is within the days that the policy grants.",
        f"{_POLICY}; {_TCB_INFO}, tcbDate",
    )
    PLATFORM_DYNAMIC = (
        "platform.dynamic",
        "The platform is not dynamic, unless the policy allows it.",
        f"{_PROFILE}, 1.3.5",
    )
    PLATFORM_CACHED_KEYS = (
        "platform.cached-keys",
        "Its keys are not cached, unless the policy allows it.",
        f"{_PROFILE}, 1.3.5",
    )
    PLATFORM_SMT = ("platform.smt", "Hyperthreading is off, unless the policy allows it.", f"{_PROFILE}, 1.3.5")
    PLATFORM_PPID = ("platform.ppid", "The machine is one that the policy names, by its PPID.", f"{_PROFILE}, 1.3.5")
    PLATFORM_INSTANCE = (
        "platform.instance",
        "The machine is one that the policy names, by its platform instance id.",
        f"{_PROFILE}, 1.3.5",
    )
    ENCLAVE_DEBUG = ("enclave.debug", "The enclave is not under a debugger, unless UNSAFE_ALLOW_DEBUG.", _REPORT)
    ENCLAVE_MR_ENCLAVE = (
        "enclave.mr-enclave",
        "The enclave's code is one that the policy names.",
        f"{_REPORT}, MRENCLAVE",
    )
    ENCLAVE_MR_SIGNER = (
        "enclave.mr-signer",
        "The enclave's signer is one that the policy names.",
        f"{_REPORT}, MRSIGNER",
    )
    ENCLAVE_PRODUCT_ID = (
        "enclave.product-id",
        "The enclave is the product that the policy names.",
        f"{_REPORT}, ISVPRODID",
    )
    ENCLAVE_SVN = (
        "enclave.svn",
        "The enclave is of the version that the policy wants, or later.",
        f"{_REPORT}, ISVSVN",
    )
    ENCLAVE_ATTRIBUTES = (
        "enclave.attributes",
        "ATTRIBUTES.FLAGS are what the policy wants under its mask.",
        f"{_REPORT}, ATTRIBUTES",
    )
    ENCLAVE_XFRM = (
        "enclave.xfrm",
        "ATTRIBUTES.XFRM is what the policy wants under its mask.",
        f"{_REPORT}, ATTRIBUTES",
    )
    ENCLAVE_MISC_SELECT = (
        "enclave.misc-select",
        "MISCSELECT is what the policy wants under its mask.",
        f"{_REPORT}, MISCSELECT",
    )
    ENCLAVE_CONFIG_ID = ("enclave.config-id", "CONFIGID is one that the policy names.", f"{_REPORT}, CONFIGID")
    ENCLAVE_CONFIG_SVN = (
        "enclave.config-svn",
        "CONFIGSVN is the one that the policy wants, or higher.",
        f"{_REPORT}, CONFIGSVN",
    )
    ENCLAVE_FAMILY_ID = ("enclave.family-id", "ISVFAMILYID is one that the policy names.", f"{_REPORT}, ISVFAMILYID")
    ENCLAVE_EXTENDED_PRODUCT_ID = (
        "enclave.extended-product-id",
        "ISVEXTPRODID is one that the policy names.",
        f"{_REPORT}, ISVEXTPRODID",
    )
    EVIDENCE_KIND = (
        "evidence.kind",
        "The evidence is of the kind of TEE that the policy is for.",
        "RFC 9334, section 8.5",
    )
    POLICY_ANY_OF = ("policy.any-of", "One of the policies in `any_of` accepts the evidence.", _POLICY)
    POLICY_ALL_OF = (
        "policy.all-of",
        "Each of the policies in `all_of` accepts a piece of evidence of its own, and there is no other piece.",
        _POLICY,
    )
    POLICY_ONE_CODE = (
        "policy.one-code",
        "All evidence is of one code: of one pair of MRENCLAVE and launch digest that the policy names.",
        _POLICY,
    )
    BINDING_NONCE = ("binding.nonce", "The policy holds the challenger's nonce.", _BINDING)
    BINDING_VALUES = (
        "binding.values",
        "The evidence tells the keys and layers that REPORTDATA is to vouch for.",
        _BINDING,
    )
    BINDING_REPORT_DATA = ("binding.report-data", "REPORTDATA is what the policy expects.", _BINDING)
    SANDBOX_ENCLAVE = (
        "sandbox.enclave",
        "The layers that the policy wants are around the enclave's process.",
        _SANDBOX,
    )
    SANDBOX_GUEST = ("sandbox.guest", "The layers that the policy wants are around the guest's process.", _SANDBOX)
    RA_TLS_FORMAT = ("ra-tls.format", "The certificate is X.509, and no extension is unknown and critical.", _X509)
    RA_TLS_SIGNATURE = (
        "ra-tls.signature",
        "The certificate is signed by its own key, on P-256 or P-384.",
        f"{_RA_TLS}; RFC 5480, section 2.1.1",
    )
    RA_TLS_VALIDITY = ("ra-tls.validity", "The certificate is valid now.", f"{_X509}.3 (a)(2)")
    RA_TLS_EVIDENCE = ("ra-tls.evidence", "The certificate carries evidence, under one of the OIDs for it.", _RA_TLS)
    RA_TLS_PUBLIC_KEY = (
        "ra-tls.public-key",
        "The evidence is for the certificate's own key: its claims hold the key's hash.",
        f'{_RA_TLS}, "Evidence Custom Claims"',
    )
    RA_TLS_NONCE = (
        "ra-tls.nonce",
        "The claims hold the challenger's nonce, where the policy has one; else the handshake shows freshness.",
        f'{_RA_TLS}, "Evidence Custom Claims"',
    )
    SNP_REPORT_FORMAT = ("snp.report-format", "The report is in the format of a known version, 1184 bytes.", _SNP)
    SNP_SIGNATURE_ALGORITHM = ("snp.signature-algorithm", "The report is signed with ECDSA on P-384 and SHA-384.", _SNP)
    SNP_SIGNING_KEY = (
        "snp.signing-key",
        "The kind of key that signed is one the policy accepts, and the certificate is of that kind.",
        _SNP,
    )
    SNP_KEY_EXTENSIONS = (
        "snp.key-extensions",
        "The key's certificate says for which product, chip and TCB it is.",
        _KDS,
    )
    SNP_PRODUCT = ("snp.product", "Chain, key and report are of one product.", _KDS)
    SNP_CHIP_ID = (
        "snp.chip-id",
        "The report is of the chip whose key signed it, or hides its chip; and of one that the policy names.",
        _KDS,
    )
    SNP_TCB_FORMAT = ("snp.tcb-format", "The report's TCB versions are of the product's layout.", _SNP)
    SNP_KEY_TCB = ("snp.key-tcb", "The key was derived for the TCB that the report names.", _KDS)
    SNP_SIGNATURE = ("snp.signature", "The key signed the report.", _SNP)
    REVOKED_SNP_SIGNER = ("revoked.snp-signer", "Neither the key's certificate nor its issuer's is revoked.", _REVOKED)
    SNP_TCB_REPORTED = ("snp.tcb-reported", "The reported TCB reaches the policy's floor.", _SNP)
    SNP_TCB_COMMITTED = (
        "snp.tcb-committed",
        "The committed TCB reaches the policy's floor: the platform cannot go back below it.",
        _SNP,
    )
    SNP_TCB_LAUNCH = ("snp.tcb-launch", "The TCB at launch reaches the policy's floor.", _SNP)
    SNP_TCB_CURRENT = ("snp.tcb-current", "The current TCB reaches the policy's floor.", _SNP)
    SNP_TCB_ORDER = ("snp.tcb-order", "Neither the committed nor the reported TCB is above the current one.", _SNP_TCB)
    SNP_FIRMWARE_ORDER = ("snp.firmware-order", "The committed firmware is no newer than the current one.", _SNP_TCB)
    SNP_PROVISIONAL = (
        "snp.provisional-firmware",
        "The firmware is committed: it cannot be rolled back, unless the policy allows that.",
        _SNP,
    )
    SNP_FIRMWARE = ("snp.firmware", "The committed firmware is of the version that the policy wants, or later.", _SNP)
    SNP_DEBUG = ("snp.debug", "The guest's policy forbids debugging, unless UNSAFE_ALLOW_DEBUG.", _SNP)
    SNP_MIGRATION = (
        "snp.migration",
        "The guest's policy forbids a migration agent, and there is none, unless ANY_MIGRATION.",
        _SNP,
    )
    SNP_SMT = ("snp.smt", "The guest's policy forbids SMT, unless the policy allows it.", _SNP)
    SNP_SOCKET = (
        "snp.single-socket",
        "The guest's policy keeps it on one socket, unless the policy does not care.",
        _SNP,
    )
    SNP_CXL = ("snp.cxl", "The guest's policy keeps it out of CXL memory, unless the policy allows it.", _SNP)
    SNP_AES_256_XTS = (
        "snp.aes-256-xts",
        "The guest's policy demands AES-256-XTS for its memory, unless the policy does not.",
        _SNP,
    )
    SNP_RAPL = ("snp.rapl", "The guest's policy demands that RAPL is off, unless the policy does not.", _SNP)
    SNP_CIPHERTEXT_HIDING = (
        "snp.ciphertext-hiding",
        "The guest's policy demands that ciphertext in DRAM is hidden, unless the policy does not.",
        _SNP,
    )
    SNP_PAGE_SWAP = (
        "snp.page-swap",
        "The guest's policy forbids that pages are swapped out, unless the policy allows it.",
        _SNP,
    )
    SNP_ABI = ("snp.abi", "The guest's policy wants an ABI version that reaches the policy's floor.", _SNP)
    SNP_GUEST_POLICY = (
        "snp.guest-policy",
        "The guest's policy has no unknown bit that the policy does not name.",
        _SNP,
    )
    SNP_PLATFORM_INFO = ("snp.platform-info", "The machine is set up as the policy demands.", _SNP)
    SNP_MITIGATIONS = (
        "snp.mitigations",
        "The mitigations that the policy names were there at launch, and are now.",
        _SNP,
    )
    SNP_VMPL = ("snp.vmpl", "The report was asked for at a privilege level that the policy names.", _SNP)
    SNP_GUEST_SVN = ("snp.guest-svn", "The guest is of the version that the policy wants, or later.", _SNP)
    SNP_MEASUREMENT = ("snp.measurement", "The launch digest is one that the policy names.", _SNP)
    SNP_HOST_DATA = ("snp.host-data", "HOST_DATA is what the policy names.", _SNP)
    SNP_ID_KEY = ("snp.id-key", "The key that signed the id block is one that the policy names.", _SNP)
    SNP_AUTHOR_KEY = ("snp.author-key", "The author's key is one that the policy names.", _SNP)
    SNP_FAMILY_ID = ("snp.family-id", "FAMILY_ID is what the policy names.", _SNP)
    SNP_IMAGE_ID = ("snp.image-id", "IMAGE_ID is what the policy names.", _SNP)
    SNP_REPORT_ID = ("snp.report-id", "The report is of a launch of the guest that the policy names.", _SNP)


@dataclass(frozen=True, slots=True)
class RuleText:
    """One line of the rule table."""

    demand: str
    source: str


RULES: dict[Rule, RuleText] = {rule: RuleText(rule.demand, rule.source) for rule in Rule}

COMPOSITION_RULES = frozenset(rule for rule in Rule if rule.startswith("policy.")) | {Rule.EVIDENCE_KIND}
"""Those of policies that are made of policies, and of a policy for the wrong kind of evidence."""

SNP_RULES = frozenset(rule for rule in Rule if rule.startswith("snp.")) | {Rule.REVOKED_SNP_SIGNER}
"""The rules that apply only to SEV-SNP reports."""

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
