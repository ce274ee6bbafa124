"""The capability ``appraise``: other enclaves' evidence is appraised, and secrets are sealed for those that pass.

Loaded with the verifier, by the enclaves whose manifest has ``[appraise]``.

A nonce is drawn here, for one party, and is good for one appraisal. A secret is sealed to the key that the evidence's
REPORTDATA binds, which the function never hands over: it has a number for it.

The verifier computes in the one thread that serves everybody. So one piece of evidence is appraised at a time, the
parties take turns, others are served between two appraisals, and a call has few. What one may cost is bounded by the
sizes of evidence and policy: see docs/adr/0035-appraisal-inside.md for figures.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from casemate.enclave.appraisal import Appraised, EvidenceRefusedError, PolicyMistakeError, appraise_presented
from casemate.enclave.capabilities.issue_memory import IssueMemory
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.entry.turns import Turns
from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.io.loop import let_others
from casemate.enclave.keys import seal_secret
from casemate.engines.questions.appraisals import Appraise, DrawNonce, SealFor
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.messages.presented_evidence import PresentedEvidence
from casemate.wire.protocol.capabilities.appraise import POLICY_NAME, AppraiseRules
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.state_changes import MAX_VALUE

NONCE_SIZE = 32
NONCE_TIME = 300.0
"""How long a nonce waits for its evidence (seconds)."""
MAX_NONCES = 4096
"""Most nonces that wait; the oldest is forgotten first."""
MAX_NONCES_OF_ONE = 64
"""Most that wait for one party, so that nobody's are forgotten because of another's."""
MAX_APPRAISALS = 16
"""Most appraisals of one call, or of one stream."""
MAX_POLICY_TEXT = 64 * 1024
"""Longest policy of the function's own making (characters)."""

NONCE_RULE: Final = "nonce.drawn"
EVIDENCE_RULE: Final = "evidence.form"


@dataclass(frozen=True, slots=True)
class _Policy:
    text: str
    is_measured: bool
    """It is part of the image. Whoever makes up another one can make up a root, too: what stands below a simulated root
    that the image does not name is not remembered, or strangers could fill the memory, which forgets nothing."""


class Nonces:
    """The nonces that wait for evidence: each for whom it was drawn, once, and for a while."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[Hashable, bytes], float] = OrderedDict()

    def draw(self, party: Hashable) -> bytes:
        """A fresh one."""
        self._forget_old()
        mine = [key for key in self._waiting if key[0] == party]
        if len(mine) >= MAX_NONCES_OF_ONE:
            del self._waiting[mine[0]]
        if len(self._waiting) >= MAX_NONCES:
            self._waiting.popitem(last=False)
        nonce = os.urandom(NONCE_SIZE)
        self._waiting[party, nonce] = time.monotonic() + NONCE_TIME
        return nonce

    def use(self, party: Hashable, nonce: bytes) -> bool:
        """Whether it waited for this party; it does so no more."""
        self._forget_old()
        return self._waiting.pop((party, nonce), None) is not None

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._waiting and next(iter(self._waiting.values())) <= now:
            self._waiting.popitem(last=False)


class AppraiseCapability:
    """Draws nonces, appraises, and seals for whoever was appraised.

    Args:
        rules: of the manifest.
        clock: the enclave's time.
        memory: the highest marks seen.
    """

    def __init__(self, rules: AppraiseRules, clock: EnclaveTime, memory: IssueMemory) -> None:
        self._rules = rules
        self._clock = clock
        self._memory = memory
        self._nonces = Nonces()
        self._turns = Turns(1, "appraisals")

    async def answer(self, question: DrawNonce | Appraise | SealFor, call: CallServices, deadline: float) -> bytes:
        """A nonce; claims with their number, or the rule that refuses; or a sealed text."""
        match question:
            case DrawNonce():
                return encode_json(self._nonces.draw(call.party).hex())
            case SealFor(claims, value):
                return encode_json(_seal(call, claims, value))
            case Appraise(text):
                return encode_json(await self._appraise(text, call, deadline))

    async def _appraise(self, text: bytes, call: CallServices, deadline: float) -> Json:
        if call.appraisals >= MAX_APPRAISALS:
            raise refuse(Code.GUEST_ERROR, f"a call may appraise {MAX_APPRAISALS} pieces of evidence, and it has")
        call.appraisals += 1
        evidence, policy, nonce = _asked(text)
        await self._turns.take(call.party, deadline)
        try:
            await let_others()
            appraised = await self._judge(evidence, self._policy(policy), self._nonce(nonce, call), deadline)
        except EvidenceRefusedError as refusal:
            told: dict[str, Json] = {
                "rule": refusal.rule,
                "got": refusal.got,
                "want": refusal.want,
                "message": str(refusal),
            }
            return {"error": told}
        finally:
            self._turns.give_back()
        call.attested_keys.append(appraised.hpke_key)
        return {"claims": appraised.claims, "number": len(call.attested_keys) - 1}

    async def _judge(self, evidence: object, policy: "_Policy", nonce: bytes | None, deadline: float) -> Appraised:
        try:
            presented = PresentedEvidence.parse(_object(evidence))
        except WireError as error:
            raise EvidenceRefusedError(EVIDENCE_RULE, got=f"{error.field}: {error.got}", want=error.want) from None
        await self._memory.recall(deadline)  # before the time is read, which it may put forward
        if time.monotonic() >= deadline:
            raise refuse(Code.TIME_LIMIT, "the call's time was over before the evidence could be appraised")
        try:
            appraised = appraise_presented(
                presented, policy.text, nonce, now=self._clock.now(), may_give_up=self._rules.unsafe
            )
        except PolicyMistakeError as error:
            raise refuse(Code.GUEST_ERROR, str(error)) from None
        self._memory.check(appraised)
        if policy.is_measured or not appraised.simulated:
            await self._memory.keep(appraised, deadline)
        return appraised

    def _policy(self, policy: object) -> "_Policy":
        """A policy by its name, as TOML or JSON, or as an object."""
        if isinstance(policy, dict):
            text = encode_json(policy).decode()
        elif not isinstance(policy, str):
            raise refuse(Code.GUEST_ERROR, "a policy is a name in [appraise] policies, a text or an object")
        elif POLICY_NAME.fullmatch(policy):
            return self._named(policy)
        else:
            text = policy
        if len(text) > MAX_POLICY_TEXT:
            raise refuse(Code.GUEST_ERROR, f"the policy has {len(text)} characters, want at most {MAX_POLICY_TEXT}")
        return _Policy(text, is_measured=False)

    def _named(self, name: str) -> "_Policy":
        found = self._rules.policy(name)
        if found is None:
            known = ", ".join(policy.name for policy in self._rules.policies) or "none"
            raise refuse(Code.GUEST_ERROR, f"no policy {name!r} in [appraise] policies, which has: {known}")
        return _Policy(found.text.decode("utf-8", "replace"), is_measured=True)

    def _nonce(self, said: object, call: CallServices) -> bytes | None:
        """The nonce, used up; None where none is said."""
        if said is None:
            return None
        try:
            nonce = bytes.fromhex(said) if isinstance(said, str) and len(said) == 2 * NONCE_SIZE else None
        except ValueError:
            nonce = None
        if nonce is None or len(nonce) != NONCE_SIZE or not self._nonces.use(call.party, nonce):
            raise EvidenceRefusedError(
                NONCE_RULE,
                got="a nonce that waits for no evidence of this caller",
                want=f"one that context.nonce() has drawn for the same caller, not used yet, at most {NONCE_TIME:.0f} "
                "seconds old",
            )
        return nonce


def _asked(text: bytes) -> tuple[object, object, object]:
    try:
        asked: object = parse_json("appraisal", text, limit=len(text), round_integers=True)
    except WireError as error:
        raise refuse(Code.GUEST_ERROR, f"what to appraise is not JSON: {error.got}, want {error.want}") from None
    if not isinstance(asked, list) or len(asked) != 3:
        raise refuse(Code.GUEST_ERROR, "an appraisal takes evidence, a policy and a nonce")
    return asked[0], asked[1], asked[2]


def _object(evidence: object) -> JsonObject:
    if not isinstance(evidence, dict):
        raise WireError("evidence", got=type(evidence).__name__, want="an object with tee, evidence and endorsements")
    return JsonObject("evidence", evidence)


def _seal(call: CallServices, claims: int, value: bytes) -> str:
    if claims >= len(call.attested_keys):
        raise refuse(Code.GUEST_ERROR, "no claims of this call have that number")
    key = call.attested_keys[claims]
    if key is None:
        words = "the evidence binds no key to seal to: its policy wants report_data = FRESH_NONCE, and a nonce"
        raise refuse(Code.GUEST_ERROR, words)
    try:
        text = encode_json(parse_json("value to seal", value, limit=MAX_VALUE, round_integers=True))
    except WireError as error:
        raise refuse(Code.GUEST_ERROR, f"the value is not JSON: {error.got}, want {error.want}") from None
    return seal_secret(key, text)
