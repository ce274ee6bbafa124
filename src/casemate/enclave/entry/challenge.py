"""Answers challenges with a report over all that a relying party must know before it seals anything."""

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.messages.entry import Challenge, ChallengeAnswer
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import SandboxLayers


def answer_challenge(
    challenge: Challenge, leaf: Leaf, keys: EnclaveKeys, layers: SandboxLayers, sessions: Sessions
) -> ChallengeAnswer:
    """A report that binds keys, layers and nonce, and a new session.

    Raises:
        FaultError: the chip refuses the target.
    """
    binding = ReportDataBinding(keys.hpke_key, keys.receipt_key, challenge.nonce, layers)
    report = leaf.report(challenge.target_info, binding.report_data())
    return ChallengeAnswer(report, keys.hpke_key, keys.receipt_key, layers, sessions.issue())
