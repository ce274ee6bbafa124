"""The state of this chip's SEV-SNP platform, kept in a file: product, firmware, what is committed and what it reports.

The rule (AMD 56860, chapter 3, "TCB Versions"): committed <= reported <= current, part by part.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from casemate.chip.errors import ANEW, StateError
from casemate.chip.inventory import expect
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.state_directory import encode_checked, parse_checked, read_state, write_state
from casemate.wire.encodings.message import U8, Fixed
from casemate.wire.errors import WireError
from casemate.wire.snp.report import WITH_MITIGATIONS
from casemate.wire.snp.simulated_platform import ABI_WITH_VERSION_5, FIRST_FIRMWARE, REPORT_VERSIONS, Firmware, of_abi
from casemate.wire.snp.tcb import Product, TcbVersion

FILE_NAME = "snp.bin"

_MAGIC = b"casemate snp platform v2\x00"
_Tcb = Annotated[bytes, Fixed(8)]


@dataclass(frozen=True, slots=True)
class ChipKind:
    """Requested product and report version; None means no preference."""

    product: Product | None = None
    """None: a new chip is a Milan, and an existing one may be any."""
    report_version: int | None = None
    """None: a new chip has its product's usual version, and an existing one may have any."""


USUAL = ChipKind()


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What the platform is between two commands."""

    product: Product
    report_version: int
    """Version of ATTESTATION_REPORT. SIMULATED: fixed for a chip's life. Real: newer firmware writes newer versions."""
    current: Firmware
    """What runs."""
    committed: Firmware
    """The platform does not go back below."""
    reported: TcbVersion
    """What reports say, and what the key that signs them is derived for."""
    mask_chip_id: bool

    @classmethod
    def first(cls, kind: ChipKind) -> "PlatformState":
        """A new chip.

        Raises:
            StateError: no firmware for that product writes such reports.
        """
        product = kind.product or Product.MILAN
        versions = REPORT_VERSIONS[product]
        version = versions[0] if kind.report_version is None else kind.report_version
        if version not in versions:
            raise StateError(f"report version {version}: a {product} writes {', '.join(map(str, sorted(versions)))}")
        firmware = of_abi(FIRST_FIRMWARE[product], version)
        return cls(product, version, firmware, firmware, firmware.tcb, mask_chip_id=False)

    def configured(self, reported: bytes, *, mask_chip_id: bool) -> "PlatformState":
        """After SNP_CONFIG. Eight zero bytes stand for the current TCB.

        Raises:
            FirmwareError: INVALID_PARAM: no TCB version of this product, or outside committed to current.
        """
        try:
            tcb = TcbVersion.parse(self.product, reported) if any(reported) else self.current.tcb
        except WireError as error:
            raise FirmwareError(FirmwareStatus.INVALID_PARAM, str(error)) from None
        if not (self.current.tcb.reaches(tcb) and tcb.reaches(self.committed.tcb)):
            raise FirmwareError(
                FirmwareStatus.INVALID_PARAM,
                f"reported TCB {tcb.encode().hex()} is not between committed {self.committed.tcb.encode().hex()} and "
                f"current {self.current.tcb.encode().hex()}",
            )
        return replace(self, reported=tcb, mask_chip_id=mask_chip_id)

    def updated(self, firmware: Firmware) -> "PlatformState":
        """After DOWNLOAD_FIRMWARE_EX: it runs, and is neither committed nor reported yet.

        Raises:
            FirmwareError: BAD_SVN: a part of it is older than what is committed.
        """
        floor = self.committed
        if self.report_version >= WITH_MITIGATIONS or floor.minor < ABI_WITH_VERSION_5:  # else: from before this rule
            firmware = of_abi(firmware, self.report_version)
        newer = (firmware.major, firmware.minor, firmware.build) >= (floor.major, floor.minor, floor.build)
        if not (firmware.tcb.product is self.product and newer and firmware.tcb.reaches(self.reported)):
            raise FirmwareError(
                FirmwareStatus.BAD_SVN,
                f"firmware {_shown(firmware)} for {firmware.tcb.product}; this {self.product} has committed "
                f"{_shown(floor)} and reports {self.reported.encode().hex()}, and no part may be older",
            )
        return replace(self, current=firmware)

    def commit(self) -> "PlatformState":
        """After SNP_COMMIT: current firmware is the least from now, and is what is reported."""
        return replace(self, committed=self.current, reported=self.current.tcb)


@dataclass(frozen=True, slots=True)
class _FirmwareFields:
    tcb: _Tcb
    major: U8
    minor: U8
    build: U8


@dataclass(frozen=True, slots=True)
class _File:
    product: Product
    report_version: U8
    current: _FirmwareFields
    committed: _FirmwareFields
    reported: _Tcb
    mask_chip_id: bool


def load_platform_state(directory: Path, kind: ChipKind) -> PlatformState:
    """This chip's state; of a new chip, as it left the factory.

    Args:
        directory: the chip's.
        kind: what a new chip becomes, and what one that there is has to be.

    Raises:
        StateError: the file is damaged, or the chip is of another kind.
    """
    path = directory / FILE_NAME
    try:
        content = read_state(path)
    except FileNotFoundError:
        state = PlatformState.first(kind)
        store_platform_state(directory, state)
        return state
    state = _parse(content, path)
    got, want = f"{state.product} with reports of version {state.report_version}", _wanted(kind)
    if kind.product not in (None, state.product) or kind.report_version not in (None, state.report_version):
        raise StateError(
            f"{path.parent} holds a {got}, and {want} was asked for: leave it out, or name another state directory"
        )
    return state


def store_platform_state(directory: Path, state: PlatformState) -> None:
    """Durable when it returns."""
    fields = _File(
        state.product,
        state.report_version,
        _fields(state.current),
        _fields(state.committed),
        state.reported.encode(),
        state.mask_chip_id,
    )
    write_state(directory / FILE_NAME, encode_checked(_MAGIC, fields))
    expect(directory, FILE_NAME)


def _parse(content: bytes, path: Path) -> PlatformState:
    try:
        fields = parse_checked(_File, _MAGIC, content)
        return PlatformState(
            fields.product,
            fields.report_version,
            _firmware(fields.product, fields.current),
            _firmware(fields.product, fields.committed),
            TcbVersion.parse(fields.product, fields.reported),
            fields.mask_chip_id,
        )
    except WireError:
        raise StateError(f"{path} is damaged: {ANEW}, and then give this chip its last firmware update again") from None


def _fields(firmware: Firmware) -> _FirmwareFields:
    return _FirmwareFields(firmware.tcb.encode(), firmware.major, firmware.minor, firmware.build)


def _firmware(product: Product, fields: _FirmwareFields) -> Firmware:
    return Firmware(TcbVersion.parse(product, fields.tcb), fields.major, fields.minor, fields.build)


def _wanted(kind: ChipKind) -> str:
    version = "" if kind.report_version is None else f"reports of version {kind.report_version}"
    return " with ".join(filter(None, (kind.product, version)))


def _shown(firmware: Firmware) -> str:
    return f"{firmware.major}.{firmware.minor}.{firmware.build} with TCB {firmware.tcb.encode().hex()}"
