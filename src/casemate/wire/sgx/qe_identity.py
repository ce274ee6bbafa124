"""The quoting enclave's identity, version 2: its measurements, and the status of each of its security versions.

Source: Intel PCS API v4, "Get SGX Quoting Enclave Identity", EnclaveIdentityV2. The signature is over the exact bytes,
so they are kept; unknown members are ignored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from casemate.wire.encodings.fields import MAX_U16, MAX_U32
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import AttributeMask
from casemate.wire.sgx.tcb_info import MAX_LEVELS, TcbStatus, parse_advisories, parse_status

QE_IDENTITY_VERSION = 2

MAX_QE_IDENTITY = 64 * 1024
"""Longest QE identity (bytes of JSON); real ones take 1 to 2 KiB."""


@dataclass(frozen=True, slots=True)
class QeTcbLevel:
    """A quoting enclave of this ISVSVN or above has at least this status."""

    isv_svn: int
    tcb_date: datetime
    status: TcbStatus
    advisory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """The identity as it was signed, and its members."""

    signed: bytes
    """The exact bytes that the TCB signing key signed."""
    id: str
    """QE, TD_QE or QVE."""
    version: int
    issue_date: datetime
    next_update: datetime
    tcb_evaluation_data_number: int
    misc_select: int
    misc_select_mask: int
    attributes: bytes
    """16 bytes, to be compared with the report's under the mask."""
    attributes_mask: AttributeMask
    mr_signer: bytes
    isv_prod_id: int
    tcb_levels: tuple[QeTcbLevel, ...]
    """In the document's order; no two have the same ISVSVN."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the exact bytes of the inner object ("enclaveIdentity"), without its signature."""
        body = parse_object("QE identity", data, limit=MAX_QE_IDENTITY)
        levels = tuple(_parse_level(level) for level in body.children("tcbLevels", limit=MAX_LEVELS))
        if not levels or len({level.isv_svn for level in levels}) != len(levels):
            raise WireError("QE identity.tcbLevels", got=f"{len(levels)} levels", want="one or more, each once")
        return cls(
            signed=data,
            id=body.text("id"),
            version=body.uint("version", MAX_U16),
            issue_date=body.date("issueDate"),
            next_update=body.date("nextUpdate"),
            tcb_evaluation_data_number=body.uint("tcbEvaluationDataNumber", MAX_U32),
            misc_select=_little(body, "miscselect"),
            misc_select_mask=_little(body, "miscselectMask"),
            attributes=body.hexadecimal("attributes", 16),
            attributes_mask=AttributeMask.parse(body.hexadecimal("attributesMask", 16)),
            mr_signer=body.hexadecimal("mrsigner", 32),
            isv_prod_id=body.uint("isvprodid", MAX_U16),
            tcb_levels=levels,
        )

    def encode(self) -> bytes:
        """The exact bytes that were parsed."""
        return self.signed


def write_qe_identity(
    *,
    issue_date: datetime,
    next_update: datetime,
    tcb_evaluation_data_number: int,
    misc_select: int,
    misc_select_mask: int,
    attributes: bytes,
    attributes_mask: AttributeMask,
    mr_signer: bytes,
    isv_prod_id: int,
    tcb_levels: tuple[QeTcbLevel, ...],
) -> bytes:
    """The identity of an SGX quoting enclave as Intel writes it: compact, members in the specification's order."""
    return encode_json(
        {
            "id": "QE",
            "version": QE_IDENTITY_VERSION,
            "issueDate": date_text(issue_date),
            "nextUpdate": date_text(next_update),
            "tcbEvaluationDataNumber": tcb_evaluation_data_number,
            "miscselect": misc_select.to_bytes(4, "little").hex().upper(),
            "miscselectMask": misc_select_mask.to_bytes(4, "little").hex().upper(),
            "attributes": attributes.hex().upper(),
            "attributesMask": attributes_mask.encode().hex().upper(),
            "mrsigner": mr_signer.hex().upper(),
            "isvprodid": isv_prod_id,
            "tcbLevels": [
                {
                    "tcb": {"isvsvn": level.isv_svn},
                    "tcbDate": date_text(level.tcb_date),
                    "tcbStatus": level.status,
                    **({"advisoryIDs": list(level.advisory_ids)} if level.advisory_ids else {}),
                }
                for level in tcb_levels
            ],
        }
    )


def _little(body: JsonObject, name: str) -> int:
    """A u32 in the byte order of the report field that it is compared with."""
    return int.from_bytes(body.hexadecimal(name, 4), "little")


def _parse_level(level: JsonObject) -> QeTcbLevel:
    return QeTcbLevel(
        isv_svn=level.child("tcb").uint("isvsvn", MAX_U16),
        tcb_date=level.date("tcbDate"),
        status=parse_status(level),
        advisory_ids=parse_advisories(level),
    )
