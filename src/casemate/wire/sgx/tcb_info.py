"""TCB info, version 3: the security versions that a kind of platform can have, and the status of each.

Source: Intel PCS API v4, "Get SGX TCB Info", TCBInfoV3. The signature is over the exact bytes, so they are kept;
members that are not used here (TDX's, and those of later revisions) are ignored.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from casemate.wire.encodings.fields import MAX_U8, MAX_U16, MAX_U32
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.errors import WireError
from casemate.wire.sgx.pck import COMPONENTS

TCB_INFO_VERSION = 3

MAX_TCB_INFO = 256 * 1024
"""Longest TCB info (bytes of JSON); real ones take 4 to 20 KiB."""

MAX_LEVELS = 256
"""Real TCB infos have up to twenty levels."""

MAX_ADVISORIES = 256


class TcbStatus(StrEnum):
    """The status of a TCB level, in Intel's words; the best first."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """One level: a platform that reaches all these SVNs has at least this status."""

    components: bytes
    """16 SVNs, one byte each."""
    pce_svn: int
    tcb_date: datetime
    status: TcbStatus
    advisory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComponentName:
    """The maker's name for one of the 16 components, such as ``BIOS`` and ``Early Microcode Update``."""

    category: str
    type: str


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """TCB info as it was signed, and its members."""

    signed: bytes
    """The exact bytes that the TCB signing key signed."""
    id: str
    """SGX or TDX."""
    version: int
    issue_date: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    tcb_type: int
    tcb_evaluation_data_number: int
    tcb_levels: tuple[TcbLevel, ...]
    """The highest first, by components and then by PCESVN, whatever the document's order; each occurs once."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the exact bytes of the inner object ("tcbInfo"), without its signature."""
        body = parse_object("TCB info", data, limit=MAX_TCB_INFO)
        levels = [_parse_level(level) for level in body.children("tcbLevels", limit=MAX_LEVELS)]
        if not levels or len({(level.components, level.pce_svn) for level in levels}) != len(levels):
            raise WireError("TCB info.tcbLevels", got=f"{len(levels)} levels", want="one or more, each once")
        return cls(
            signed=data,
            id=body.text("id"),
            version=body.uint("version", MAX_U16),
            issue_date=body.date("issueDate"),
            next_update=body.date("nextUpdate"),
            fmspc=body.hexadecimal("fmspc", 6),
            pce_id=body.hexadecimal("pceId", 2),
            tcb_type=body.uint("tcbType", MAX_U8),
            tcb_evaluation_data_number=body.uint("tcbEvaluationDataNumber", MAX_U32),
            tcb_levels=tuple(sorted(levels, key=lambda level: (level.components, level.pce_svn), reverse=True)),
        )

    def encode(self) -> bytes:
        """The exact bytes that were parsed."""
        return self.signed

    def component_names(self) -> tuple[ComponentName, ...]:
        """The names of the 16 components; empty strings where the document has none.

        They are shown to people only, so they are read when asked for, and never a reason to refuse the document.
        """
        body = parse_object("TCB info", self.signed, limit=MAX_TCB_INFO)
        first = body.children("tcbLevels", limit=MAX_LEVELS)[0].child("tcb")
        return tuple(
            ComponentName(_name(component, "category"), _name(component, "type"))
            for component in first.children("sgxtcbcomponents", limit=COMPONENTS)
        )


def _name(component: JsonObject, member: str) -> str:
    value = component.value(member) if component.has(member) else ""
    return value if isinstance(value, str) else ""


def write_tcb_info(
    *,
    issue_date: datetime,
    next_update: datetime,
    fmspc: bytes,
    pce_id: bytes,
    tcb_evaluation_data_number: int,
    tcb_levels: tuple[TcbLevel, ...],
) -> bytes:
    """TCB info for SGX as Intel writes it: compact, members in the order of the specification."""
    return encode_json(
        {
            "id": "SGX",
            "version": TCB_INFO_VERSION,
            "issueDate": date_text(issue_date),
            "nextUpdate": date_text(next_update),
            "fmspc": fmspc.hex().upper(),
            "pceId": pce_id.hex().upper(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": tcb_evaluation_data_number,
            "tcbLevels": [
                {
                    "tcb": {
                        "sgxtcbcomponents": [{"svn": svn} for svn in level.components],
                        "pcesvn": level.pce_svn,
                    },
                    "tcbDate": date_text(level.tcb_date),
                    "tcbStatus": level.status,
                    **({"advisoryIDs": list(level.advisory_ids)} if level.advisory_ids else {}),
                }
                for level in tcb_levels
            ],
        }
    )


def parse_status(level: JsonObject) -> TcbStatus:
    """The ``tcbStatus`` of a level."""
    text = level.text("tcbStatus")
    try:
        return TcbStatus(text)
    except ValueError:
        raise WireError("tcbStatus", got=ascii(text[:64]), want=" or ".join(TcbStatus)) from None


def parse_advisories(level: JsonObject) -> tuple[str, ...]:
    """The ``advisoryIDs`` of a level, which it need not have."""
    return level.texts("advisoryIDs", limit=MAX_ADVISORIES) if level.has("advisoryIDs") else ()


def _parse_level(level: JsonObject) -> TcbLevel:
    tcb = level.child("tcb")
    components = tcb.children("sgxtcbcomponents", limit=COMPONENTS)
    if len(components) != COMPONENTS:
        raise WireError("TCB info.sgxtcbcomponents", got=f"{len(components)} components", want=f"{COMPONENTS}")
    return TcbLevel(
        components=bytes(component.uint("svn", MAX_U8) for component in components),
        pce_svn=tcb.uint("pcesvn", MAX_U16),
        tcb_date=level.date("tcbDate"),
        status=parse_status(level),
        advisory_ids=parse_advisories(level),
    )
