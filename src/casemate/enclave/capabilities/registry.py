"""Which capability answers which questions, in an enclave with a given manifest."""

from types import UnionType
from typing import get_args

from casemate.enclave.boot import Program
from casemate.enclave.capabilities.seals import SealCapability
from casemate.enclave.capabilities.secrets_for_peers import OpenCapability
from casemate.enclave.capabilities.state import StateCapability
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.entry.peers import OwnProof, Peers
from casemate.enclave.guest.call_services import CallServices, Capability, Ocalls, Services
from casemate.enclave.guest.monitor import Monitor
from casemate.enclave.store.host_line import HostRecords
from casemate.enclave.store.sealer import Sealer
from casemate.enclave.store.store import Store
from casemate.engines.questions.appraisals import AppraisalQuestion, OpenSecret
from casemate.engines.questions.calls import CallOther
from casemate.engines.questions.keys import UseKey
from casemate.engines.questions.runs import Run
from casemate.engines.questions.seals import SealQuestion
from casemate.engines.questions.state import StateQuestion
from casemate.wire.protocol.capabilities.appraise import AppraiseRules
from casemate.wire.protocol.capabilities.keys import KeyRules
from casemate.wire.protocol.capabilities.run import RunRules
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import Permission

NO_USES = "context.call needs a table [uses.NAME]: add one with whom it names and its operations to casemate.toml"
"""What a guest hears that calls another enclave without any table."""
NO_APPRAISE = "this needs the table [appraise]: add it with the day of the build to casemate.toml"
"""What a guest hears that appraises evidence without the table."""
NO_KEYS = "context.keys needs a table [keys.NAME]: add one with purpose and algorithm to casemate.toml"
"""What a guest hears that uses a key without any table."""
NO_RUN = "context.run needs the table [run]: add it with engines and limits to casemate.toml"
"""What a guest hears that has code run without the table."""


def services_of(program: Program, peers: Peers, own: OwnProof, ocalls: Ocalls) -> Services:
    """The services of an enclave that runs this program. Chip and host are asked nothing yet."""
    manifest, leaf, host = program.image.manifest, peers.leaf, peers.host
    keys = SealingKeys(leaf, program.identity, program.tcb)
    clock = peers.clock if manifest.judges_by_time else None
    store = None if manifest.state is None else Store(leaf, HostRecords(host), keys, manifest.state, clock)
    sealer = Sealer(keys) if Permission.SEAL in manifest.permissions else None
    capabilities: dict[type, Capability] = {
        **_for(StateQuestion, StateCapability()),
        **_for(SealQuestion, SealCapability(sealer)),
        CallOther: _call(program, peers, own) if manifest.uses else _NotGranted(NO_USES),
        Run: _NotGranted(NO_RUN) if manifest.run is None else _run(manifest.run, peers),
        **_for(AppraisalQuestion, _appraise(manifest.appraise, peers.clock, store)),
        UseKey: _NotGranted(NO_KEYS) if store is None or not manifest.keys else _keys(manifest.keys, store),
        OpenSecret: OpenCapability(own.keys),
    }
    return Services(ocalls, Monitor(manifest.monitor, host.tell), store, capabilities)


def _call(program: Program, peers: Peers, own: OwnProof) -> Capability:
    from casemate.enclave.capabilities.call import CallCapability  # loaded before this process was forked

    return CallCapability(program, peers, own)


def _appraise(rules: AppraiseRules | None, clock: EnclaveTime, store: Store | None) -> Capability:
    if rules is None:
        return _NotGranted(NO_APPRAISE)
    from casemate.enclave.capabilities.appraise import AppraiseCapability  # loaded before this process was forked
    from casemate.enclave.capabilities.issue_memory import IssueMemory

    return AppraiseCapability(rules, clock, IssueMemory(clock, store))


def _keys(rules: tuple[KeyRules, ...], store: Store) -> Capability:
    from casemate.enclave.capabilities.keys import KeysCapability  # loaded before this process was forked

    return KeysCapability(rules, store)


def _run(rules: RunRules, peers: Peers) -> Capability:
    from casemate.enclave.capabilities.run import RunCapability  # loaded before this process was forked

    return RunCapability(rules, peers.maker)


class _NotGranted:
    """Refuses all questions of a capability whose table the manifest does not have."""

    def __init__(self, words: str) -> None:
        self._words = words

    async def answer(self, _question: object, _call: CallServices, _deadline: float) -> bytes:
        """Refuses it."""
        raise refuse(Code.GUEST_ERROR, self._words)


def _for(questions: UnionType, capability: Capability) -> dict[type, Capability]:
    """The same answerer for each class of a union of questions."""
    return dict.fromkeys(get_args(questions), capability)
