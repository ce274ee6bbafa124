"""Recognises files by their bytes: for errors about a file of the wrong kind, and for `casemate inspect`.

Recognising says what a file looks like, not whether it is sound. Commands ask it where a file is not what they need, so
that swapped arguments, and files of other tools, are met with a sentence instead of a complaint about some byte.
"""

import base64
import binascii
import re
import shlex
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from casemate.cli.files import InputFileError
from casemate.wire.encodings.pem import is_pem, pem_labels
from casemate.wire.sgx.quote import MAX_QUOTE, SIGNED_SIZE, TEE_SGX
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo
from casemate.wire.sgx.sigstruct import SIGSTRUCT_SIZE
from casemate.wire.snp.report import REPORT_SIZE, VERSIONS

SGXS_START = b"ECREATE\x00"
DER_START = b"\x30\x82"
_SIGSTRUCT_START = bytes.fromhex("06000000e10000000000010000000000")
_HCL_START = b"HCLA"
_LOCK_START = b"casemate.lock "
_GZIP_START = b"\x1f\x8b\x08"
_UTF_16_STARTS = (b"\xff\xfe", b"\xfe\xff")
_COSE_STARTS = (b"\x84\x44\xa1\x01\x38\x22", b"\xd2\x84\x44\xa1\x01\x38\x22")
_OVMF_FOOTER = bytes.fromhex("de82b596b21ff745baeaa366c55a082d")
"""The GUID of the table that ends 32 bytes before an image does."""
_OVMF_FOOTER_AT = -48
_TDX = 0x81
_QUOTE_VERSIONS = (3, 4, 5)
_LONGEST_TEXT = 4 * MAX_QUOTE
"""Longer texts are not decoded to see what is in them."""
_SHORTEST_TEXT = 64
_LOOKED_AT = 1 << 20
"""Bytes of a document that are searched for the names of its members."""
_HEXADECIMAL = re.compile(rb"(?:0[xX])?(?:[0-9a-fA-F]{2})+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_WHITE_SPACE = b" \t\r\n\x00"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FileKind(Enum):
    """Kinds of files that users have at hand; the value is the words for one in a sentence."""

    EMPTY = "an empty file"
    QUOTE = "a quote"
    TDX_QUOTE = "a quote of TDX"
    SNP_REPORT = "an SEV-SNP report"
    HCL_REPORT = "an Azure HCL blob, which holds an SEV-SNP report at byte 32"
    NITRO = "an attestation document of AWS Nitro"
    REPORT = "an SGX REPORT"
    REPORT_BODY = "the body of an SGX REPORT"
    TARGETINFO = "a TARGETINFO"
    SGXS = "an enclave's image (SGXS)"
    SIGSTRUCT = "the SIGSTRUCT of an image"
    FIRMWARE = "a VM's firmware (OVMF)"
    ASSEMBLY = "the source of a VM's guest in assembly"
    CERTIFICATE = "a certificate"
    REVOCATION_LIST = "a revocation list"
    PRIVATE_KEY = "a private key"
    PEM = "PEM of another kind"
    RECEIPT = "a receipt"
    COLLATERAL = "collateral"
    BINDING = "a binding file"
    SGX_POLICY = "a policy for quotes of SGX"
    SNP_POLICY = "a policy for SEV-SNP reports"
    COMPOSED_POLICY = "a policy made of policies"
    RELEASES = "a list of releases"
    TCB_INFO = "TCB info as Intel's service gives it"
    QE_IDENTITY = "a QE identity as Intel's service gives it"
    MANIFEST = "a function's manifest"
    RUNTIME_LOCK = "a runtime lock (casemate.lock)"
    TOLD_RUNTIME = "a runtime, as `casemate lock show --json` prints it"
    FAILURE = "the error that a command printed in place of its result"
    JSON = "JSON of another kind"
    GZIP = "a file compressed with gzip"
    UTF_16 = "text in UTF-16"


EVIDENCE = frozenset({FileKind.QUOTE, FileKind.SNP_REPORT})
"""Kinds of evidence that a policy judges."""
POLICIES = frozenset({FileKind.SGX_POLICY, FileKind.SNP_POLICY, FileKind.COMPOSED_POLICY})

_ADVICE: dict[FileKind, str] = {
    FileKind.QUOTE: "`casemate verify {file} --collateral FILE --policy FILE` appraises it",
    FileKind.TDX_QUOTE: "quotes of TDX are not judged here: only those of SGX (version 3)",
    FileKind.SNP_REPORT: "`casemate verify {file} --certificates FILE --policy FILE` appraises it",
    FileKind.HCL_REPORT: "cut the report out: `dd if={file} of=report.bin bs=1 skip=32 count=1184`",
    FileKind.NITRO: "documents of Nitro are not judged here: see `casemate docs snp`",
    FileKind.REPORT: "`casemate inspect {file}` explains it; a quote is what others can verify",
    FileKind.REPORT_BODY: "`casemate inspect {file}` explains it; a quote is what others can verify",
    FileKind.TARGETINFO: "`casemate inspect {file}` explains it",
    FileKind.SGXS: "`casemate measure {file}` prints its MRENCLAVE; `casemate launch {file}` runs it, with `--tee snp` "
    "as a guest; `casemate quote {file} -o FILE` makes a quote of it",
    FileKind.SIGSTRUCT: "`casemate inspect {file}` explains it; the image is the .sgxs beside it",
    FileKind.FIRMWARE: "`casemate vm launch {file}` runs it; `casemate measure --tee snp --ovmf {file}` measures it",
    FileKind.ASSEMBLY: "assemble it first: `casemate docs vm-guests` shows how to make firmware of it",
    FileKind.CERTIFICATE: "`casemate inspect {file}` explains it; `casemate verify --ra-tls {file} ...` appraises one "
    "that has evidence in it; AMD's are given with --certificates",
    FileKind.REVOCATION_LIST: "it is given with --revocation-list, beside a report",
    FileKind.PRIVATE_KEY: "keep it to yourself; no command shows or sends a key",
    FileKind.RECEIPT: "`casemate receipt verify {file} --policy FILE` checks it",
    FileKind.COLLATERAL: "it is given with --collateral, beside a quote; `casemate inspect {file}` explains it",
    FileKind.BINDING: "it is given with --binding, beside a quote or report",
    FileKind.SGX_POLICY: "it is given with --policy, beside a quote",
    FileKind.SNP_POLICY: "it is given with --policy, beside a report and its --certificates",
    FileKind.COMPOSED_POLICY: "it is given with --policy: any_of for one piece of evidence, all_of for several",
    FileKind.RELEASES: "a policy names it in the place of measurements (`casemate docs cli`); "
    "`casemate inspect {file}` explains it",
    FileKind.TCB_INFO: "a collateral file has it in its member tcb_info, and the signature in tcb_info_signature",
    FileKind.QE_IDENTITY: "a collateral file has it in qe_identity, and the signature in qe_identity_signature",
    FileKind.MANIFEST: "`casemate build` takes the folder that it is in",
    FileKind.RUNTIME_LOCK: "`casemate lock show DIR` explains that of the folder that it is in",
    FileKind.TOLD_RUNTIME: "`casemate lock add DIR --from {file}` accepts it, too",
    FileKind.FAILURE: "it says what went wrong (`cat {file}`); run that command again, and see that it ends well",
    FileKind.GZIP: "`gzip -dc < {file} > FILE` unpacks it",
    FileKind.UTF_16: "`iconv -f UTF-16 -t UTF-8 {file} > FILE` makes UTF-8 of it; PowerShell's `>` writes UTF-16",
    FileKind.EMPTY: "the command that was to write it may have failed: run that again, and see what it says",
}


_WANTED: dict[FileKind, str] = {
    FileKind.QUOTE: "a quote of SGX",
    FileKind.CERTIFICATE: "certificates in PEM or DER",
    FileKind.REVOCATION_LIST: "a revocation list in PEM or DER",
}
"""What an error asks for, if the kind's name is not precise enough."""


class WrongKindError(InputFileError):
    """The user named a file of another kind than the command needs."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Recognised:
    """The kind of a file, recognised by its content, and the decoded content."""

    kind: FileKind
    content: bytes
    """The file's bytes, or what its text stands for."""
    encoding: str = ""
    """``hexadecimal`` or ``base64`` where the file is such a text."""

    @property
    def name(self) -> str:
        """The kind's name within a sentence."""
        return f"{self.encoding} text of {self.kind.value}" if self.encoding else self.kind.value

    def advice(self, path: Path) -> str:
        """The command to use for such a file."""
        said = _ADVICE.get(self.kind, "").format(file=shlex.quote(str(path)))
        if not self.encoding:
            return said
        decoder = "xxd -r -p" if self.encoding == "hexadecimal" else "base64 -d"
        return f"`{decoder} {shlex.quote(str(path))} > FILE` gives the bytes; then {said}"


def recognise(data: bytes) -> Recognised | None:
    """The kind of file that the bytes look like; None if they match no known kind."""
    found = _recognise(data)
    if found is not None:
        return Recognised(found, data)
    for encoding, decode in (("hexadecimal", _from_hexadecimal), ("base64", _from_base64)):
        content = decode(data)
        kind = None if content is None else _recognise_bytes(content)
        if content is not None and kind is not None:
            return Recognised(kind, content, encoding)
    return None


def wrong_kind(data: bytes, path: Path, *, what: str, wanted: frozenset[FileKind]) -> WrongKindError | None:
    """The error for a file that is recognisably of another kind than wanted; None where it is not.

    Args:
        data: the file's bytes.
        path: as the user named it.
        what: what the file should be, in the words of the command.
        wanted: the kinds that are right.
    """
    found = recognise(data)
    if found is None or (found.kind in wanted and not found.encoding):
        return None
    return WrongKindError(f"{what} {path}: got {found.name}, want {what_is_wanted(wanted)}", found.advice(path))


def what_is_wanted(wanted: frozenset[FileKind]) -> str:
    """The wanted kinds, in words for a sentence."""
    return " or ".join(_WANTED.get(kind, kind.value) for kind in FileKind if kind in wanted - {FileKind.EMPTY})


def _recognise(data: bytes) -> FileKind | None:
    text = data[:_LOOKED_AT].removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    if not text:
        return FileKind.EMPTY if not data.strip(b" \t\r\n") else None
    return _recognise_signs(data) or _recognise_text(text) or _recognise_size(data)


def _recognise_bytes(data: bytes) -> FileKind | None:
    return _recognise_signs(data) or _recognise_size(data)


def _recognise_size(data: bytes) -> FileKind | None:
    """The kind of a structure that has nothing but its size to know it by; text may have any size."""
    return _STRUCTURES.get(len(data)) if 0 in data else None


def _recognise_signs(data: bytes) -> FileKind | None:
    for start, kind in (
        (SGXS_START, FileKind.SGXS),
        (_LOCK_START, FileKind.RUNTIME_LOCK),
        (_HCL_START, FileKind.HCL_REPORT),
        (_GZIP_START, FileKind.GZIP),
        *((start, FileKind.UTF_16) for start in _UTF_16_STARTS),
        *((start, FileKind.NITRO) for start in _COSE_STARTS),
    ):
        if data.startswith(start):
            return kind
    if data.startswith(_SIGSTRUCT_START) and len(data) == SIGSTRUCT_SIZE:
        return FileKind.SIGSTRUCT
    if data.startswith(DER_START):
        return _der_kind(data)
    if data[_OVMF_FOOTER_AT:].startswith(_OVMF_FOOTER):
        return FileKind.FIRMWARE
    return _evidence_kind(data)


def _evidence_kind(data: bytes) -> FileKind | None:
    """The kind of evidence by its version and type. Its size says nothing, since zero bytes may follow it."""
    if len(data) < SIGNED_SIZE:
        return None
    version, key_type, tee_type = (
        int.from_bytes(data[at : at + size], "little") for at, size in ((0, 2), (2, 2), (4, 4))
    )
    if version in _QUOTE_VERSIONS and key_type in (2, 3) and tee_type in (TEE_SGX, _TDX):
        return FileKind.TDX_QUOTE if tee_type == _TDX else FileKind.QUOTE
    is_report = int.from_bytes(data[:4], "little") in VERSIONS and data[0x34:0x38] == b"\x01\x00\x00\x00"
    if is_report and len(data) >= REPORT_SIZE and not any(data[REPORT_SIZE:]):
        return FileKind.SNP_REPORT
    return None


def _der_kind(data: bytes) -> FileKind:
    """CRL or certificate, told apart by the signed part's start: a certificate has its version in [0]."""
    signed = data[4:20]
    start = 2 + max(0, signed[1] - 0x80) if len(signed) > 1 else 0
    is_list = signed[start : start + 4] == b"\x02\x01\x01\x30"
    return FileKind.REVOCATION_LIST if is_list else FileKind.CERTIFICATE


def _recognise_text(text: bytes) -> FileKind | None:
    if text.startswith(b"{"):
        return _document_kind(text)
    if is_pem(text):
        labels = pem_labels(text)
        if any("PRIVATE KEY" in label for label in labels):
            return FileKind.PRIVATE_KEY
        if any(label.endswith("CERTIFICATE") for label in labels):
            return FileKind.CERTIFICATE
        return FileKind.REVOCATION_LIST if "X509 CRL" in labels else FileKind.PEM
    return _line_kind(text)


def _document_kind(text: bytes) -> FileKind:
    """The kind of a JSON document, by members that only one kind has."""
    for name, kind in (
        (b'"casemate-receipt"', FileKind.RECEIPT),
        (b'"casemate-releases-', FileKind.RELEASES),
        (b'"pck_crl_issuer_chain"', FileKind.COLLATERAL),
        (b'"tcb_info_issuer_chain"', FileKind.COLLATERAL),
        (b'"hpke_key"', FileKind.BINDING),
        (b'"any_of"', FileKind.COMPOSED_POLICY),
        (b'"all_of"', FileKind.COMPOSED_POLICY),
        (b'"mr_enclave"', FileKind.SGX_POLICY),
        (b'"signing_keys"', FileKind.SNP_POLICY),
        (b'"tcbInfo"', FileKind.TCB_INFO),
        (b'"tcbLevels"', FileKind.TCB_INFO if b'"fmspc"' in text else FileKind.QE_IDENTITY),
        (b'"enclaveIdentity"', FileKind.QE_IDENTITY),
        (b'"core_groups"', FileKind.TOLD_RUNTIME),
        (b'"exit_code"', FileKind.FAILURE),
    ):
        if name in text:
            return kind
    return FileKind.JSON


_TEXTS: tuple[tuple[re.Pattern[bytes], FileKind], ...] = (
    (re.compile(rb"^[ \t]*(?:\[\[)?[ \t]*a(?:ny|ll)_of[ \t]*[\]=.]", re.MULTILINE), FileKind.COMPOSED_POLICY),
    (re.compile(rb"^[ \t]*mr_enclave[ \t]*=", re.MULTILINE), FileKind.SGX_POLICY),
    (re.compile(rb"^[ \t]*signing_keys[ \t]*=", re.MULTILINE), FileKind.SNP_POLICY),
    (
        re.compile(rb"^[ \t]*(?:main|bsp_reset):|^[ \t]*\.(?:equ|code16|code64|asciz)[ \t]", re.MULTILINE),
        FileKind.ASSEMBLY,
    ),
    (re.compile(rb"^[ \t]*\[(?:enclave|entry\.[^\]\n]{1,80})\]", re.MULTILINE), FileKind.MANIFEST),
)


def _line_kind(text: bytes) -> FileKind | None:
    return next((kind for pattern, kind in _TEXTS if pattern.search(text)), None)


def _from_hexadecimal(text: bytes) -> bytes | None:
    digits = _characters(text)
    if digits is None or not _HEXADECIMAL.fullmatch(digits):
        return None
    return bytes.fromhex(digits[2:].decode() if digits[:2] in (b"0x", b"0X") else digits.decode())


def _from_base64(text: bytes) -> bytes | None:
    characters = _characters(text)
    if characters is None or not _BASE64.fullmatch(characters):
        return None
    standard = characters.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        return None


def _characters(text: bytes) -> bytes | None:
    """The text without white space; None where it is too short or too long to hold anything known."""
    if not _SHORTEST_TEXT <= len(text) <= _LONGEST_TEXT:
        return None
    return text.removeprefix(_BYTE_ORDER_MARK).translate(None, _WHITE_SPACE)


_STRUCTURES: dict[int, FileKind] = {
    Report.LAYOUT.size: FileKind.REPORT,
    ReportBody.LAYOUT.size: FileKind.REPORT_BODY,
    TargetInfo.LAYOUT.size: FileKind.TARGETINFO,
}
