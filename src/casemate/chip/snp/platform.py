"""The SEV-SNP platform of this chip: its identity, its TCB versions, the keys that sign reports, and the reports.

Nothing is derived before it is first wanted: a chip that runs no SEV-SNP guest pays for none of it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from casemate.chip.crypto import ReportKey, derive
from casemate.chip.fuses import Fuses
from casemate.chip.secret import Secret
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.platform_state import USUAL, ChipKind, PlatformState, load_platform_state, store_platform_state
from casemate.chip.svn_chains import SvnChains
from casemate.wire.messages.snp_firmware import PlatformIs
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.report import SIGNED_SIZE, WITH_MITIGATIONS, SigningKey, SnpReport
from casemate.wire.snp.simulated_platform import CHIP_ID_SIZE, CPUIDS, HW_ID_SIZES, MITIGATIONS, Firmware
from casemate.wire.snp.tcb import Product, TcbVersion

PLATFORM_INFO = 0x1
"""SMT_EN alone: the DRAM is a file, so neither ECC nor the check for aliases is claimed."""

_SIGNATURE_ALGORITHM = 1
_COMPONENT_SIZE = 72
_ZEROS = bytes(_COMPONENT_SIZE)
_CHIP_ID_LABEL = b"casemate snp chip id v1"
_ROOT_LABEL = b"casemate snp endorsement root v1"
_VCEK_LABEL = b"casemate snp vcek v1"
_GUEST_KEY_LABEL = b"casemate snp guest key root v1"
_CHAINS = SvnChains(
    hash="sha384",
    chain_label=b"casemate snp tcb chain v1 ",
    step_label=b"casemate snp tcb step v1\x00",
    root_label=b"casemate snp tcb root v1\x00",
)
"""So each TCB version has a VCEK of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedGuest:
    """What a report says of the guest; all else is the platform's."""

    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    author_key: bool
    """AUTHOR_KEY_EN."""
    report_id: bytes
    report_id_ma: bytes
    launch_tcb: TcbVersion
    """The platform's current TCB when the guest was launched."""
    launch_mitigations: int = MITIGATIONS
    """The platform's mitigations when the guest was launched."""


@dataclass(frozen=True, slots=True)
class _Vlek:
    key: ReportKey
    tcb: TcbVersion


class SnpPlatform:
    """A chip's SEV-SNP platform. Each change is durable in the chip's directory when its method returns."""

    def __init__(self, directory: Path, fuses: Fuses, kind: ChipKind = USUAL) -> None:
        """The chip in ``directory``; a new one becomes what ``kind`` says.

        Raises:
            StateError: its file is damaged, or it is of another kind.
        """
        self._directory = directory
        self._fuses = fuses
        self.state: PlatformState = load_platform_state(directory, kind)
        self._links: tuple[TcbVersion, tuple[Secret, ...]] | None = None
        self._vcek: tuple[TcbVersion, ReportKey] | None = None
        self._vlek: _Vlek | None = None

    @property
    def product(self) -> Product:
        """What kind of processor this is."""
        return self.state.product

    @property
    def hw_id(self) -> bytes:
        """The chip's own id, as its VCEK's certificate has it: 64 bytes, 8 on Turin."""
        return derive(self._root_provisioning_key(), _CHIP_ID_LABEL, CHIP_ID_SIZE)[: HW_ID_SIZES[self.product]]

    @property
    def chip_id(self) -> bytes:
        """CHIP_ID of reports: 64 bytes; zeros where the host masks it."""
        return bytes(CHIP_ID_SIZE) if self.state.mask_chip_id else self.hw_id.ljust(CHIP_ID_SIZE, b"\x00")

    @property
    def seeded(self) -> bool:
        """Whether a public seed made this chip."""
        return self._fuses.seeded

    def status(self, guests: int, provider: str) -> PlatformIs:
        """SNP_PLATFORM_STATUS, with the number of guests that there are, and whose VLEK is loaded."""
        now = self.state
        return PlatformIs(
            product=str(now.product),
            api_major=now.current.major,
            api_minor=now.current.minor,
            build=now.current.build,
            current_tcb=now.current.tcb.encode(),
            reported_tcb=now.reported.encode(),
            committed_tcb=now.committed.tcb.encode(),
            mask_chip_id=now.mask_chip_id,
            report_version=now.report_version,
            provider=provider,
            guests=guests,
        )

    def set_config(self, reported_tcb: bytes, *, mask_chip_id: bool) -> None:
        """SNP_CONFIG: what reports say from now; eight zero bytes report the current TCB.

        Raises:
            FirmwareError: INVALID_PARAM.
        """
        self._become(self.state.configured(reported_tcb, mask_chip_id=mask_chip_id))

    def commit(self) -> None:
        """SNP_COMMIT: no older firmware from now, and reports name the current TCB."""
        self._become(self.state.commit())

    def update(self, firmware: Firmware) -> None:
        """DOWNLOAD_FIRMWARE_EX: the firmware runs, provisionally; guests run on.

        Raises:
            FirmwareError: BAD_SVN.
        """
        self._become(self.state.updated(firmware))

    def secret_at(self, tcb: TcbVersion, label: bytes, size: int) -> Secret:
        """Key material of this chip at one TCB version, of ``size`` bytes; for keys that guests derive.

        Raises:
            FirmwareError: INVALID_PARAM: beyond the current TCB.
        """
        return Secret(derive(self._secret(tcb).reveal(), _GUEST_KEY_LABEL + b" " + label, size))

    def vcek(self) -> ReportKey:
        """The VCEK at the reported TCB: another key at each."""
        tcb = self.state.reported
        if self._vcek is None or self._vcek[0] != tcb:
            self._vcek = (tcb, ReportKey.derived(self._secret(tcb), _VCEK_LABEL))
        return self._vcek[1]

    def choose(self, selection: KeySelect) -> SigningKey:
        """The key that signs a report for a guest's KEY_SEL.

        Raises:
            FirmwareError: INVALID_KEY: a VLEK is asked for, and none for the reported TCB is loaded.
        """
        if selection is KeySelect.VCEK or (selection is KeySelect.EITHER and self._vlek is None):
            return SigningKey.VCEK
        self._loaded_vlek()
        return SigningKey.VLEK

    def load_vlek(self, key: ReportKey, tcb: TcbVersion) -> None:
        """SNP_VLEK_LOAD: signs reports while ``tcb`` is the reported one, until the power goes."""
        self._vlek = _Vlek(key, tcb)

    def report(self, guest: ReportedGuest, key: SigningKey) -> SnpReport:
        """ATTESTATION_REPORT about ``guest``, signed by ``key``.

        Raises:
            FirmwareError: INVALID_KEY: no such key is loaded.
        """
        now = self.state
        version = now.report_version
        draft = SnpReport(
            version=version,
            guest_svn=guest.guest_svn,
            policy=guest.policy,
            family_id=guest.family_id,
            image_id=guest.image_id,
            vmpl=guest.vmpl,
            signature_algo=_SIGNATURE_ALGORITHM,
            current_tcb=now.current.tcb.encode(),
            platform_info=PLATFORM_INFO,
            key_info=key << 2 | guest.author_key,
            report_data=guest.report_data,
            measurement=guest.measurement,
            host_data=guest.host_data,
            id_key_digest=guest.id_key_digest,
            author_key_digest=guest.author_key_digest,
            report_id=guest.report_id,
            report_id_ma=guest.report_id_ma,
            reported_tcb=now.reported.encode(),
            chip_id=self.chip_id,
            committed_tcb=now.committed.tcb.encode(),
            current_build=now.current.build,
            current_minor=now.current.minor,
            current_major=now.current.major,
            committed_build=now.committed.build,
            committed_minor=now.committed.minor,
            committed_major=now.committed.major,
            launch_tcb=guest.launch_tcb.encode(),
            **_since(version, self.product, guest.launch_mitigations),
            signature_r=_ZEROS,
            signature_s=_ZEROS,
        )
        r, s = self.sign(draft.encode()[:SIGNED_SIZE], key)
        return replace(draft, signature_r=r, signature_s=s)

    def sign(self, signed: bytes, key: SigningKey) -> tuple[bytes, bytes]:
        """R and S over the first 0x2A0 bytes of a report, little-endian, 72 bytes each.

        Raises:
            FirmwareError: INVALID_KEY: no such key is loaded.
        """
        signer = self._loaded_vlek() if key is SigningKey.VLEK else self.vcek()
        r, s = signer.sign(signed)
        return r.to_bytes(_COMPONENT_SIZE, "little"), s.to_bytes(_COMPONENT_SIZE, "little")

    def _loaded_vlek(self) -> ReportKey:
        loaded = self._vlek
        if loaded is None or loaded.tcb != self.state.reported:
            what = "none is loaded" if loaded is None else f"the loaded one is for TCB {loaded.tcb.encode().hex()}"
            raise FirmwareError(
                FirmwareStatus.INVALID_KEY,
                f"no VLEK for the reported TCB {self.state.reported.encode().hex()}: {what}; load one",
            )
        return loaded.key

    def _become(self, state: PlatformState) -> None:
        if state != self.state:
            store_platform_state(self._directory, state)
            self.state = state

    def _secret(self, tcb: TcbVersion) -> Secret:
        current = self.state.current.tcb
        if not current.reaches(tcb):
            raise FirmwareError(
                FirmwareStatus.INVALID_PARAM,
                f"TCB {tcb.encode().hex()} is beyond the current {current.encode().hex()}",
            )
        if self._links is None or self._links[0] != current:
            root = Secret(derive(self._root_provisioning_key(), _ROOT_LABEL, len(self._root_provisioning_key())))
            self._links = (current, _CHAINS.links(root, current.encode()))
        return _CHAINS.secret(self._links[1], current.encode(), tcb.encode())

    def _root_provisioning_key(self) -> bytes:
        return self._fuses.root_provisioning_key.reveal()


def _since(version: int, product: Product, launch_mitigations: int) -> dict[str, int]:
    """The fields that newer reports have."""
    cpuid = CPUIDS[product]
    fields: dict[str, int] = {}
    if version >= 3:
        fields |= {"cpuid_family": cpuid.family, "cpuid_model": cpuid.model, "cpuid_stepping": cpuid.stepping}
    if version >= WITH_MITIGATIONS:
        fields |= {"launch_mitigations": launch_mitigations, "current_mitigations": MITIGATIONS}
    return fields
