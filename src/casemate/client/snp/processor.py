"""The levers of a machine's SEV-SNP processor: those of its maker, by the supervisor, and of its host.

Root, revocation list and newest TCB are the supervisor's word, who is the user's own; how the platform stands is the
host's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from casemate.client.owner_link import ask_at, ask_supervisor
from casemate.wire.messages.control import (
    AskSnpRoot,
    Done,
    RecoverSnpTcb,
    RevokeSnpKey,
    SnpRootIs,
    UpdateSnpFirmware,
)
from casemate.wire.messages.snp_firmware import Commit, LoadVlek, PlatformIs, PlatformStatus, SetConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SnpLevers:
    """Controls the SEV-SNP processor of the machine on ``state``; :class:`FaultError` if firmware or maker refuse."""

    state: Path
    host_socket: Path

    def root(self) -> SnpRootIs:
        """The maker's root for this processor; the first time it takes seconds to make that."""
        return ask_supervisor(self.state, AskSnpRoot(), SnpRootIs)

    def recover_tcb(self, advisory: str) -> str:
        """Has the maker publish firmware of a higher TCB."""
        return ask_supervisor(self.state, RecoverSnpTcb(advisory), Done).said

    def update_firmware(self, *, commit: bool) -> str:
        """Brings the platform to the newest firmware; without ``commit`` it is provisional, and not reported."""
        return ask_supervisor(self.state, UpdateSnpFirmware(commit), Done).said

    def revoke(self, *, provider: str = "", issuer: bool = False) -> str:
        """Has the maker revoke every certificate of this chip's key, of a provider's, or that of their issuer."""
        return ask_supervisor(self.state, RevokeSnpKey(provider, issuer), Done).said

    def status(self) -> PlatformIs:
        """The platform's status."""
        return self._ask_host(PlatformStatus(), PlatformIs)

    def commit(self) -> PlatformIs:
        """Commits the current firmware: older firmware is refused from now on, and reports have the current TCB."""
        return self._ask_host(Commit(), PlatformIs)

    def configure(self, reported_tcb: bytes, *, mask_chip_id: bool) -> PlatformIs:
        """The TCB that reports name (8 zero bytes: the current one), and whether they hide the chip."""
        return self._ask_host(SetConfig(reported_tcb, mask_chip_id), PlatformIs)

    def load_vlek(self, provider: str) -> PlatformIs:
        """Has reports signed by a cloud provider's key, until the chip's next start."""
        return self._ask_host(LoadVlek(provider), PlatformIs)

    def _ask_host(self, question: object, wanted: type[T]) -> T:
        return ask_at(self.host_socket, self.state, "the host", question, wanted)
