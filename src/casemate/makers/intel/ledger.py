"""The simulated Intel's ledger: certificates it has issued and revoked, TCB levels it has published."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from casemate.makers.certificates import parse_serial
from casemate.makers.errors import MakerError
from casemate.makers.store import MAX_LEDGER
from casemate.wire.encodings.fields import MAX_U16, MAX_U32
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.errors import WireError
from casemate.wire.sgx.qe_identity import QeTcbLevel
from casemate.wire.sgx.tcb_info import TcbLevel, parse_advisories, parse_status

VERSION = 1

_MAX_ITEMS = 65_536


class Ca(StrEnum):
    """The CA that issued a certificate."""

    ROOT = "root"
    PROCESSOR = "processor"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Issued:
    """A PCK certificate, and the chip and TCB that it speaks for."""

    serial: int
    ca: Ca
    ppid: bytes
    cpu_svn: bytes
    pce_svn: int
    public_key: bytes
    """Uncompressed point."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate on its issuer's revocation list."""

    serial: int
    ca: Ca
    date: datetime


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole ledger; a command that changes it makes a new one."""

    seed: str | None
    """The public seed that the keys came from, or None."""
    tcb_evaluation_data_number: int
    tcb_levels: tuple[TcbLevel, ...]
    """The newest first."""
    qe_levels: tuple[QeTcbLevel, ...]
    """The newest first."""
    issued: tuple[Issued, ...]
    revoked: tuple[Revoked, ...]
    crl_number: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From its file.

        Raises:
            MakerError: the file is damaged.
        """
        try:
            body = parse_object("ledger", data, limit=MAX_LEDGER)
            if (version := body.uint("version", MAX_U16)) != VERSION:
                raise WireError("ledger.version", got=version, want=VERSION)
            return cls(
                seed=body.text("seed") if body.has("seed") else None,
                tcb_evaluation_data_number=body.uint("tcb_evaluation_data_number", MAX_U32),
                tcb_levels=tuple(map(_parse_tcb_level, body.children("tcb_levels", limit=_MAX_ITEMS))),
                qe_levels=tuple(map(_parse_qe_level, body.children("qe_levels", limit=_MAX_ITEMS))),
                issued=tuple(map(_parse_issued, body.children("issued", limit=_MAX_ITEMS))),
                revoked=tuple(map(_parse_revoked, body.children("revoked", limit=_MAX_ITEMS))),
                crl_number=body.uint("crl_number", MAX_U32),
            )
        except WireError as error:
            raise MakerError(f"the maker's ledger is damaged: {error}") from None

    def encode(self) -> bytes:
        """The ledger as readable JSON, for its file."""
        return json.dumps(
            {
                "version": VERSION,
                "seed": self.seed,
                "tcb_evaluation_data_number": self.tcb_evaluation_data_number,
                "crl_number": self.crl_number,
                "tcb_levels": [
                    {"components": level.components.hex(), "pce_svn": level.pce_svn, **_worth(level)}
                    for level in self.tcb_levels
                ],
                "qe_levels": [{"isv_svn": level.isv_svn, **_worth(level)} for level in self.qe_levels],
                "issued": [
                    {
                        "serial": f"{entry.serial:x}",
                        "ca": entry.ca,
                        "ppid": entry.ppid.hex(),
                        "cpu_svn": entry.cpu_svn.hex(),
                        "pce_svn": entry.pce_svn,
                        "public_key": entry.public_key.hex(),
                    }
                    for entry in self.issued
                ],
                "revoked": [
                    {"serial": f"{entry.serial:x}", "ca": entry.ca, "date": date_text(entry.date)}
                    for entry in self.revoked
                ],
            },
            indent=1,
        ).encode()

    def revoked_by(self, ca: Ca) -> tuple[Revoked, ...]:
        """The entries of one issuer's revocation list."""
        return tuple(entry for entry in self.revoked if entry.ca == ca)


def _worth(level: TcbLevel | QeTcbLevel) -> dict[str, object]:
    return {
        "tcbDate": date_text(level.tcb_date),
        "tcbStatus": level.status,
        "advisoryIDs": list(level.advisory_ids),
    }


def _parse_tcb_level(body: JsonObject) -> TcbLevel:
    return TcbLevel(
        components=body.hexadecimal("components", 16),
        pce_svn=body.uint("pce_svn", MAX_U16),
        tcb_date=body.date("tcbDate"),
        status=parse_status(body),
        advisory_ids=parse_advisories(body),
    )


def _parse_qe_level(body: JsonObject) -> QeTcbLevel:
    return QeTcbLevel(
        isv_svn=body.uint("isv_svn", MAX_U16),
        tcb_date=body.date("tcbDate"),
        status=parse_status(body),
        advisory_ids=parse_advisories(body),
    )


def _parse_issued(body: JsonObject) -> Issued:
    return Issued(
        serial=parse_serial("ledger.issued.serial", body.text("serial")),
        ca=parse_ca(body.text("ca")),
        ppid=body.hexadecimal("ppid", 16),
        cpu_svn=body.hexadecimal("cpu_svn", 16),
        pce_svn=body.uint("pce_svn", MAX_U16),
        public_key=body.hexadecimal("public_key", 65),
    )


def _parse_revoked(body: JsonObject) -> Revoked:
    return Revoked(
        serial=parse_serial("ledger.revoked.serial", body.text("serial")),
        ca=parse_ca(body.text("ca")),
        date=body.date("date"),
    )


def parse_ca(text: str) -> Ca:
    """An issuer by its name."""
    try:
        return Ca(text)
    except ValueError:
        raise WireError("ca", got=ascii(text[:64]), want=" or ".join(Ca)) from None
