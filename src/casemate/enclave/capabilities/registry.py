"""Which capability answers which questions, in an enclave with a given manifest."""

from types import UnionType
from typing import get_args

from casemate.enclave.boot import Program
from casemate.enclave.capabilities.seals import SealCapability
from casemate.enclave.capabilities.state import StateCapability
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.guest.call_services import Capability, Ocalls, Services
from casemate.enclave.guest.monitor import Monitor
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.store.host_line import HostRecords
from casemate.enclave.store.sealer import Sealer
from casemate.enclave.store.store import Store
from casemate.engines.questions.seals import SealQuestion
from casemate.engines.questions.state import StateQuestion
from casemate.wire.protocol.manifest import Permission


def services_of(program: Program, leaf: Leaf, host: HostLink, ocalls: Ocalls) -> Services:
    """The services of an enclave that runs this program. Chip and host are asked nothing yet."""
    manifest = program.image.manifest
    keys = SealingKeys(leaf, program.identity, program.tcb)
    store = None if manifest.state is None else Store(leaf, HostRecords(host), keys, manifest.state)
    sealer = Sealer(keys) if Permission.SEAL in manifest.permissions else None
    capabilities: dict[type, Capability] = {
        **_for(StateQuestion, StateCapability()),
        **_for(SealQuestion, SealCapability(sealer)),
    }
    return Services(ocalls, Monitor(manifest.monitor, host.tell), store, capabilities)


def _for(questions: UnionType, capability: Capability) -> dict[type, Capability]:
    """The same answerer for each class of a union of questions."""
    return dict.fromkeys(get_args(questions), capability)
