"""The TCB levels that a new maker publishes, and what TCB recovery does to them."""

from dataclasses import replace
from datetime import UTC, datetime

from casemate.makers.errors import MakerError
from casemate.wire.encodings.fields import MAX_U8, MAX_U16
from casemate.wire.sgx.qe_identity import QeTcbLevel
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS, QE_ISV_SVN
from casemate.wire.sgx.tcb_info import TcbLevel, TcbStatus

FIRST_EVALUATION_NUMBER = 17

_MICROCODE = (0, 1)
"""The components that a microcode update raises."""

_WHEN_RECOVERED = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
"""The status of a level once a better one is published; other statuses stay."""


def first_tcb_levels() -> tuple[TcbLevel, ...]:
    """The platform's history as it stands when a machine is made: every status has its level."""
    return (
        _level("0707 0202 ff01 03", 13, "2025-03-12", TcbStatus.UP_TO_DATE),
        _level("0707 0202 ff01 02", 13, "2025-03-12", TcbStatus.SW_HARDENING_NEEDED, "SIM-SA-00005"),
        _level("0707 0202 ff01 01", 13, "2025-03-12", TcbStatus.CONFIGURATION_NEEDED, "SIM-SA-00004"),
        _level(
            "0707 0202 ff01 00", 13, "2025-03-12",
            TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED, "SIM-SA-00004", "SIM-SA-00005",
        ),
        _level("0606 0202 ff01 03", 13, "2024-09-11", TcbStatus.OUT_OF_DATE, "SIM-SA-00003"),
        _level(
            "0606 0202 ff01 00", 13, "2024-09-11",
            TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED, "SIM-SA-00003", "SIM-SA-00004",
        ),
        _level("0404 0202 8000 00", 11, "2023-02-15", TcbStatus.OUT_OF_DATE, "SIM-SA-00002", "SIM-SA-00003"),
        _level("0000 0000 0000 00", 0, "2022-01-12", TcbStatus.REVOKED, "SIM-SA-00001"),
    )  # fmt: skip


def first_qe_levels() -> tuple[QeTcbLevel, ...]:
    """The quoting enclave's TCB levels at a new maker."""
    return (
        QeTcbLevel(QE_ISV_SVN, _day("2025-03-12"), TcbStatus.UP_TO_DATE, ()),
        QeTcbLevel(6, _day("2023-02-15"), TcbStatus.OUT_OF_DATE, ("SIM-SA-00002",)),
        QeTcbLevel(1, _day("2022-01-12"), TcbStatus.REVOKED, ("SIM-SA-00001", "SIM-SA-00002")),
    )


def recover_platform(levels: tuple[TcbLevel, ...], advisory: str, now: datetime) -> tuple[TcbLevel, ...]:
    """A level above the newest, for which microcode exists; those below it have the advisory against them."""

    def older(level: TcbLevel) -> TcbLevel:
        status, advisories = _outdated(level.status, level.advisory_ids, advisory)
        return replace(level, status=status, advisory_ids=advisories)

    newest = levels[0]
    components = bytearray(newest.components)
    for at in _MICROCODE:
        if components[at] == MAX_U8:
            raise MakerError(f"SVN component {at + 1} is {MAX_U8}, a byte holds no more: make a new machine")
        components[at] += 1
    level = replace(newest, components=bytes(components), tcb_date=now, status=TcbStatus.UP_TO_DATE, advisory_ids=())
    return (level, *map(older, levels))


def recover_quoting_enclave(levels: tuple[QeTcbLevel, ...], advisory: str, now: datetime) -> tuple[QeTcbLevel, ...]:
    """A level of the quoting enclave above the newest; those below it have the advisory against them."""

    def older(level: QeTcbLevel) -> QeTcbLevel:
        status, advisories = _outdated(level.status, level.advisory_ids, advisory)
        return replace(level, status=status, advisory_ids=advisories)

    newest = levels[0]
    if newest.isv_svn == MAX_U16:
        raise MakerError(f"the quoting enclave's ISVSVN is {MAX_U16}, two bytes hold no more")
    level = QeTcbLevel(newest.isv_svn + 1, now, TcbStatus.UP_TO_DATE, ())
    return (level, *map(older, levels))


def _outdated(status: TcbStatus, advisories: tuple[str, ...], advisory: str) -> tuple[TcbStatus, tuple[str, ...]]:
    """Status and advisories of a level once a newer one is published."""
    known = advisory in advisories
    return _WHEN_RECOVERED.get(status, status), advisories if known else (*advisories, advisory)


def _level(components: str, pce_svn: int, date: str, status: TcbStatus, *advisories: str) -> TcbLevel:
    svns = bytes.fromhex(components).ljust(len(FIRST_COMPONENTS), b"\x00")
    return TcbLevel(svns, pce_svn, _day(date), status, advisories)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
