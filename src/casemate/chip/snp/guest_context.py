"""The guest context: what the firmware knows of a guest, and where the guest stands (AMD 56860, 4.1 and table GCTX)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from casemate.chip.secret import Secret
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.wire.snp.guest_message import KEY_SIZE, VMPCKS
from casemate.wire.snp.id_block import IdBlock
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import DIGEST_SIZE
from casemate.wire.snp.simulated_platform import MITIGATIONS
from casemate.wire.snp.tcb import TcbVersion

_REPORT_ID_SIZE = 32


class GuestState(StrEnum):
    """GSTATE (56860, table "Guest States"); a guest context that is gone has none."""

    INIT = "GSTATE_INIT"
    LAUNCH = "GSTATE_LAUNCH"
    RUNNING = "GSTATE_RUNNING"


class Command(StrEnum):
    """Commands that a guest's state allows or forbids."""

    LAUNCH_START = "SNP_LAUNCH_START"
    LAUNCH_UPDATE = "SNP_LAUNCH_UPDATE"
    LAUNCH_FINISH = "SNP_LAUNCH_FINISH"
    GUEST_REQUEST = "SNP_GUEST_REQUEST"


_STEPS: dict[GuestState, dict[Command, GuestState]] = {
    GuestState.INIT: {Command.LAUNCH_START: GuestState.LAUNCH},
    GuestState.LAUNCH: {Command.LAUNCH_UPDATE: GuestState.LAUNCH, Command.LAUNCH_FINISH: GuestState.RUNNING},
    GuestState.RUNNING: {Command.GUEST_REQUEST: GuestState.RUNNING},
}


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """What SNP_LAUNCH_FINISH fixes: reports say it, and keys depend on it."""

    host_data: bytes
    block: IdBlock | None
    """None if the guest was launched without an ID block, whose fields are then zeros in reports."""
    id_key_digest: bytes
    author_key_digest: bytes
    author_key: bool

    @property
    def guest_svn(self) -> int:
        """GUEST_SVN."""
        return 0 if self.block is None else self.block.guest_svn

    @property
    def family_id(self) -> bytes:
        """FAMILY_ID of the ID block, or zeros."""
        return bytes(16) if self.block is None else self.block.family_id

    @property
    def image_id(self) -> bytes:
        """IMAGE_ID."""
        return bytes(16) if self.block is None else self.block.image_id


NO_IDENTITY = GuestIdentity(bytes(32), None, bytes(DIGEST_SIZE), bytes(DIGEST_SIZE), author_key=False)


@dataclass(slots=True)
class GuestContext:
    """GCTX. Its secrets are the firmware's and, through its secrets page, the guest's."""

    mode: VmMode
    policy: int
    launch_tcb: TcbVersion
    """The platform's current TCB at SNP_LAUNCH_START."""
    vmpcks: tuple[Secret, ...]
    """Keys for messages, one for each VMPL."""
    vmrk: Secret
    """The guest's root key: random, for there is no migration agent to bring one along."""
    report_id: bytes
    launch_mitigations: int = MITIGATIONS
    """LAUNCH_MIT_VECTOR: the platform's mitigations at SNP_LAUNCH_START."""
    state: GuestState = GuestState.INIT
    digest: bytes = bytes(DIGEST_SIZE)
    """The launch digest."""
    identity: GuestIdentity = NO_IDENTITY
    message_counts: list[int] = field(default_factory=lambda: [0] * VMPCKS)
    """The number of the last message under each VMPCK."""

    @classmethod
    def create(
        cls, mode: VmMode, policy: int, launch_tcb: TcbVersion, random: Callable[[int], bytes]
    ) -> "GuestContext":
        """SNP_GCTX_CREATE, with secrets from ``random``, which gives as many bytes as it is asked for."""
        return cls(
            mode=mode,
            policy=policy,
            launch_tcb=launch_tcb,
            vmpcks=tuple(Secret(random(KEY_SIZE)) for _ in range(VMPCKS)),
            vmrk=Secret(random(KEY_SIZE)),
            report_id=random(_REPORT_ID_SIZE),
        )

    def check(self, command: Command) -> None:
        """Returns where the guest's state allows ``command``.

        Raises:
            FirmwareError: INVALID_GUEST_STATE.
        """
        if command not in _STEPS[self.state]:
            raise FirmwareError(FirmwareStatus.INVALID_GUEST_STATE, f"no {command} in {self.state}")

    def step(self, command: Command) -> None:
        """Takes the guest to where ``command`` leads.

        Raises:
            FirmwareError: INVALID_GUEST_STATE.
        """
        self.check(command)
        self.state = _STEPS[self.state][command]
