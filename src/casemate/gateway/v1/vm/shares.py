"""Each token's share of VMs and memory, so that no token can take all of them."""

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.v1.enclaves import launcher_of
from casemate.wire.messages.vm.host import LaunchVm, ListVms, VmIs
from casemate.wire.protocol.access_tokens import AccessToken
from casemate.wire.protocol.faults import Code, refuse

MAX_OF_ONE = 4
"""Most VMs of one token below the role admin: a quarter of a machine's."""

MAX_MIB_OF_ONE = 4096
"""Most memory of one token's VMs together (MiB)."""


class VmShares:
    """Counts the VMs of each token, by the token's digest. The counts are in memory only: VMs end with this process."""

    def __init__(self, vms: VmHostApi) -> None:
        self._vms = vms
        self._launched: dict[bytes, dict[int, int]] = {}
        """Numbers, and memory (MiB)."""
        self._starting: dict[bytes, list[int]] = {}
        """Memory of those that have no number yet."""

    async def launch(self, token: AccessToken, wanted: LaunchVm) -> VmIs:
        """Launches a VM for a token.

        Raises:
            FaultError: ``busy``: the token has used up its share; or a refusal of :class:`VmHostApi`.
        """
        if not launcher_of(token):
            return await self._vms.answer(wanted)
        there = {vm.vm for vm in (await self._vms.answer(ListVms())).vms}
        mine = {number: size for number, size in self._launched.get(token.digest, {}).items() if number in there}
        starting = self._starting.setdefault(token.digest, [])
        self._launched[token.digest] = mine
        memory = sum(mine.values()) + sum(starting)
        if len(mine) + len(starting) >= MAX_OF_ONE or memory + wanted.memory_mib > MAX_MIB_OF_ONE:
            named = f": destroy one of {', '.join(map(str, mine))}" if mine else ""
            said = f"token {token.name} has {len(mine) + len(starting)} VMs of {memory} MiB"
            raise refuse(Code.BUSY, f"{said}, and its share is {MAX_OF_ONE} of {MAX_MIB_OF_ONE} MiB{named}")
        starting.append(wanted.memory_mib)
        try:
            made = await self._vms.answer(wanted)
            self._launched[token.digest][made.vm] = wanted.memory_mib
            return made
        finally:
            starting.remove(wanted.memory_mib)
            if not starting:
                self._starting.pop(token.digest, None)
