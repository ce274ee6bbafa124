"""The learners' VMs: their guests' firmware, and which VM each token launched last."""

from pathlib import Path

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.learner.shared_enclave import waited_for
from casemate.gateway.learner.vm_documents import BuiltIn
from casemate.process.plain_file import read_plain
from casemate.wire.errors import os_error_text
from casemate.wire.messages.vm.host import MAX_FIRMWARE, GetVm, ListVms, VmIs
from casemate.wire.protocol.faults import Code, refuse


class SharedVms:
    """Firmware from ``folder``, where `casemate up` puts it, and each token's newest VM."""

    def __init__(self, vms: VmHostApi, folder: Path) -> None:
        self._vms = vms
        self._folder = folder
        self._last: dict[bytes, int] = {}
        """Numbers of VMs by the digests of tokens, since a new token may have an old one's name."""

    async def firmware(self, guest: BuiltIn) -> bytes:
        """The image of a built-in guest; FaultError of code ``unavailable``."""
        path = self._folder / f"{guest}.fd"
        return await waited_for(lambda: _read(path))

    def launched(self, token: bytes, number: int) -> None:
        """Notes that this VM is the token's newest."""
        self._last[token] = number

    async def vm(self, token: bytes, number: int | None) -> VmIs:
        """The VM of that number; without a number, the one that this token launched last.

        Raises:
            FaultError: there is none.
        """
        if number is not None:
            return await self._vms.answer(GetVm(number))
        there = {vm.vm: vm for vm in (await self._vms.answer(ListVms())).vms}
        self._last = {name: last for name, last in self._last.items() if last in there}
        if token not in self._last:
            raise refuse(Code.UNKNOWN_VM, "there is no VM of yours here: POST /vm/launch makes one, `vm` names another")
        return there[self._last[token]]


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_FIRMWARE + 1)
    except OSError as error:
        raise refuse(
            Code.UNAVAILABLE,
            f"the guest's firmware is not there ({os_error_text(error)}): `casemate up` puts it there "
            "where the extra \"vm\" is installed: pip install 'casemate[vm]'",
        ) from None
