"""SEV-SNP's attestation report, explained."""

from casemate.cli.inspection.field import Inspection, fields_of
from casemate.wire.snp.report import HOST_VMPL, GuestPolicy, PlatformInfo, SnpReport, cut_padding


def inspect_snp_report(data: bytes) -> Inspection:
    """An ATTESTATION_REPORT, 1184 bytes; zero bytes may be behind it."""
    raw = cut_padding(data)
    report = SnpReport.parse(raw)
    facts = [
        ("launch digest", report.measurement.hex()),
        ("signed by", report.signing_key.name + ("" if any(report.chip_id) else ", the chip's id masked")),
        ("asked by", "the host" if report.vmpl == HOST_VMPL else f"VMPL {report.vmpl}"),
        ("policy", _guest_policy(report.policy)),
        ("platform", _platform_info(report.platform_info)),
        ("author key", "yes" if report.has_author_key else "no"),
    ]
    if len(raw) < len(data):
        facts.append(("padding", f"{len(data) - len(raw)} zero bytes after the report"))
    title = f"SEV-SNP attestation report, version {report.version}"
    return Inspection("snp-report", title, len(data), tuple(facts), fields_of(report.spans(), raw))


def _guest_policy(policy: int) -> str:
    """The bits of GUEST_POLICY by name, and the least ABI version."""
    named = [flag.name or "" for flag in GuestPolicy if policy & flag and flag is not GuestPolicy.RESERVED_ONE]
    unknown = policy >> 16 & ~sum(flag >> 16 for flag in GuestPolicy)
    words = [*named, *([f"unknown bits {unknown << 16:#x}"] if unknown else [])]
    return f"{', '.join(words) or 'nothing allowed'}; ABI {policy >> 8 & 0xFF}.{policy & 0xFF} or later"


def _platform_info(info: int) -> str:
    """The bits of PLATFORM_INFO by name."""
    unknown = info & ~sum(PlatformInfo)
    words = [flag.name or "" for flag in PlatformInfo if info & flag]
    return ", ".join([*words, *([f"unknown bits {unknown:#x}"] if unknown else [])]) or "nothing claimed"
