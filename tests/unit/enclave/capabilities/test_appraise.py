"""Evidence judged inside: by the same rules as outside, once for each nonce, and never by less than was seen before."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from tests.rigs.store_lab import Lab, contents, lab, put, run, secs, soon
from tests.rigs.verifier.forged_cases import NOW, RESIGNED, TAMPERED, Change, Tamper
from tests.rigs.verifier.real_quotes import GOOD_TIME, load
from tests.rigs.verifier.real_quotes import policy as loose
from tests.rigs.verifier.snp import strict

from casemate.enclave.appraisal import EvidenceRefusedError, PolicyMistakeError, appraise_presented
from casemate.enclave.capabilities import appraise as module
from casemate.enclave.capabilities.appraise import (
    MAX_APPRAISALS,
    MAX_NONCES,
    MAX_NONCES_OF_ONE,
    NONCE_RULE,
    NONCE_TIME,
    AppraiseCapability,
    Nonces,
)
from casemate.enclave.capabilities.issue_memory import EVALUATION_RULE, LIST_RULE, MAX_KNOWN, IssueMemory
from casemate.enclave.capabilities.secrets_for_peers import OpenCapability
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.keys import EnclaveKeys, seal_secret
from casemate.enclave.store.store import Store
from casemate.engines.questions.appraisals import Appraise, DrawNonce, OpenSecret, SealFor
from casemate.testing.forge import Forged, Forgery, honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import (
    BoundValues,
    ExpectedReportData,
    RefusedError,
    Rule,
    SnpEvidence,
    appraise,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_fields
from casemate.wire.errors import WireError
from casemate.wire.messages.presented_evidence import PresentedEvidence
from casemate.wire.protocol.capabilities.appraise import AppraiseRules, NamedPolicy
from casemate.wire.protocol.clock import RELEASED
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.sgx.collateral import Collateral

INSIDE = datetime(2026, 12, 1, tzinfo=UTC)
"""The host's clock, after the release that enclaves know of."""
YEAR = timedelta(days=365)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(
    evidence: bytes, bound: BoundValues | None, endorsements: bytes | None, tee: str = "sgx"
) -> dict[str, Any]:
    """Evidence as the HTTP API gives it."""
    told: dict[str, Any] = {"tee": tee, "evidence": text(evidence)}
    if bound is not None:
        keys = {"hpke_key": bound.hpke_key, "receipt_key": bound.receipt_key, "layers": encode_fields(bound.layers)}
        told |= {name: text(value) for name, value in keys.items()}
    return told if endorsements is None else {**told, "endorsements": text(endorsements)}


def of(forged: Forged) -> dict[str, Any]:
    collateral: Collateral | None = forged.collateral  # which a tampering may have taken away
    return document(forged.evidence.quote, forged.evidence.bound, None if collateral is None else collateral.encode())


def judged(told: dict[str, Any], policy: str, now: datetime = NOW) -> dict[str, Any]:
    """What the verifier inside says, as a function would hear it."""
    asked = json.loads(json.dumps(told))
    presented = PresentedEvidence.parse(module._object(asked))
    return appraise_presented(presented, policy, None, now=now, may_give_up=True).claims


@pytest.mark.parametrize(("rule", "change"), [case[1:] for case in RESIGNED], ids=[case[0] for case in RESIGNED])
def test_what_was_changed_and_signed_again_is_refused_inside_by_the_same_rule(rule: Rule, change: Change) -> None:
    forgery = honest(NOW)
    change(forgery)
    forged = forgery.sign()
    with pytest.raises(EvidenceRefusedError) as raised:
        judged(of(forged), print_policy(forged.policy))
    assert raised.value.rule == rule


@pytest.mark.parametrize(("rule", "tamper"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_what_was_changed_after_it_was_signed_is_refused_inside_by_the_same_rule(rule: Rule, tamper: Tamper) -> None:
    forged = tamper(honest(NOW).sign())
    told = of(forged)
    try:
        if "endorsements" in told:
            Collateral.parse(base64.b64decode(told["endorsements"]))
    except WireError:  # what its form cannot hold is refused before any other rule is looked at
        rule = Rule.EVIDENCE_KIND
    with pytest.raises(EvidenceRefusedError) as raised:
        judged(told, print_policy(forged.policy))
    assert raised.value.rule == rule


def test_a_real_quote_has_the_same_verdict_inside(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    demands = loose(report_data=ExpectedReportData(b"Hello, world!".ljust(64, b"\x00")))
    outside = appraise(evidence, demands, collateral, GOOD_TIME)
    told = document(evidence.quote, None, collateral.encode())
    claims = judged(told, print_policy(demands), GOOD_TIME)
    assert (claims["mr_enclave"], claims["tcb"]["status"]) == (outside.mr_enclave.hex(), str(outside.tcb.status))
    assert claims["hpke_key"] is None
    with pytest.raises(RefusedError) as refused:
        appraise(evidence, demands, collateral, GOOD_TIME + YEAR)
    with pytest.raises(EvidenceRefusedError) as raised:
        judged(told, print_policy(demands), GOOD_TIME + YEAR)
    assert (raised.value.rule, raised.value.got) == (refused.value.rule, refused.value.got)


def test_a_report_of_an_snp_guest_is_judged_inside() -> None:
    evidence, endorsements, root = honest_snp(INSIDE).sign()
    assert isinstance(evidence, SnpEvidence)
    told = document(evidence.report, evidence.bound, endorsements.handed_on().encode(), "snp")
    claims = judged(told, print_snp_policy(strict(root)), INSIDE)
    assert (claims["tee"], claims["launch_digest"]) == ("snp", (b"\x01" * 48).hex())
    flipped = bytes((*evidence.report[:-1], evidence.report[-1] ^ 1))
    with pytest.raises(EvidenceRefusedError):
        judged(told | {"evidence": text(flipped)}, print_snp_policy(strict(root)), INSIDE)
    del told["endorsements"]
    with pytest.raises(EvidenceRefusedError, match="endorsements"):
        judged(told, print_snp_policy(strict(root)), INSIDE)


# --- the capability -----------------------------------------------------------------------------------------------


class HostsClock:
    def __init__(self, says: datetime) -> None:
        self.says = says

    def __call__(self) -> datetime:
        return self.says


class Inside:
    """The capability in an enclave, with its clock and memory."""

    def __init__(
        self, *, policy: str = "", store: Store | None = None, unsafe: bool = True, says: datetime = INSIDE
    ) -> None:
        self.host = HostsClock(says)
        self.clock = EnclaveTime(None, self.host)
        named = (NamedPolicy("partner", policy.encode()),) if policy else ()
        self.keys = EnclaveKeys()
        self.capability = AppraiseCapability(
            AppraiseRules(RELEASED, unsafe, named), self.clock, IssueMemory(self.clock, store)
        )

    def call(self, party: str = "alice") -> Any:
        """A call of one caller's."""
        return SimpleNamespace(party=party, appraisals=0, attested_keys=[])

    def ask(self, question: DrawNonce | Appraise | SealFor, call: Any = None, deadline: float | None = None) -> Any:
        """What the guest hears; FaultError where it is an exception."""
        heard: list[Any] = []

        async def asking() -> None:
            try:
                answer = await self.capability.answer(question, call or self.call(), deadline or soon())
                heard.append(json.loads(answer))
            except FaultError as error:
                heard.append(error)

        run(asking())
        if isinstance(heard[0], FaultError):
            raise heard[0]
        return heard[0]

    def judge(self, told: object, policy: object, nonce: object = None, call: Any = None) -> Any:
        return self.ask(Appraise(encode_json([told, policy, nonce])), call)

    def forge(self, *changes: Callable[[Forgery], object], now: datetime | None = None) -> tuple[str, Forged]:
        """Honest evidence over a nonce that was drawn here for alice, but for the changes."""
        nonce = self.ask(DrawNonce())
        forgery = honest(now or self.host.says)
        forgery.nonce = bytes.fromhex(nonce)
        for change in changes:
            change(forgery)
        return nonce, forgery.sign()


def fresh(forged: Forged) -> str:
    """Its policy, which takes whichever nonce was drawn."""
    return print_policy(replace(forged.policy, report_data="FRESH_NONCE"))


def rule_of(said: Any) -> str:
    assert "claims" not in said
    return str(said["error"]["rule"])


@pytest.mark.parametrize("form", ["text", "object", "name"])
def test_evidence_that_answers_a_nonce_of_the_enclaves_gives_claims(form: str) -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    policy: Any = fresh(forged)
    if form == "name":
        named = Inside(policy=policy)
        named.capability._nonces = inside.capability._nonces
        inside, policy = named, "partner"
    elif form == "object":
        policy = json.loads(print_policy(replace(forged.policy, report_data="FRESH_NONCE"), PolicyFormat.JSON))
    said = inside.judge(of(forged), policy, nonce)
    assert said["number"] == 0
    assert said["claims"]["nonce"] == nonce
    assert said["claims"]["hpke_key"] == forged.evidence.bound.hpke_key.hex()  # type: ignore[union-attr]


def test_a_nonce_is_for_one_caller_and_one_appraisal() -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    assert rule_of(inside.judge(of(forged), fresh(forged), nonce, inside.call("bob"))) == NONCE_RULE
    assert "claims" in inside.judge(of(forged), fresh(forged), nonce)
    assert rule_of(inside.judge(of(forged), fresh(forged), nonce)) == NONCE_RULE
    for other in ("00" * 32, "x", "", 7, nonce.upper(), [nonce]):
        assert rule_of(inside.judge(of(forged), fresh(forged), other)) == NONCE_RULE


def test_evidence_over_another_nonce_is_refused_and_uses_the_nonce_up() -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    other, _ = inside.forge()
    assert rule_of(inside.judge(of(forged), fresh(forged), other)) == Rule.BINDING_REPORT_DATA
    assert rule_of(inside.judge(of(forged), fresh(forged), other)) == NONCE_RULE
    assert "claims" in inside.judge(of(forged), fresh(forged), nonce)


def test_nonces_are_forgotten_in_time_and_nobodys_for_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    nonces = Nonces()
    first = nonces.draw("alice")
    clock[0] = NONCE_TIME
    assert not nonces.use("alice", first)
    mine = nonces.draw("alice")
    for _ in range(10 * MAX_NONCES_OF_ONE):
        nonces.draw("mallory")
    assert nonces.use("alice", mine)
    early = [nonces.draw("bob") for _ in range(MAX_NONCES_OF_ONE + 1)]
    assert not nonces.use("bob", early[0])
    assert nonces.use("bob", early[1])
    for number in range(MAX_NONCES + 1):
        nonces.draw(number)
    assert len(nonces._waiting) == MAX_NONCES


def test_words_that_give_something_up_need_the_manifests_word() -> None:
    inside = Inside(unsafe=False)
    nonce, forged = inside.forge()
    with pytest.raises(FaultError, match=r"ANY_EVALUATION_NUMBER.*unsafe = true") as raised:
        inside.judge(of(forged), fresh(forged), nonce)
    assert raised.value.fault.code is Code.GUEST_ERROR


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("other", "no policy 'other' in"),
        (7, "a policy is a name"),
        (None, "a policy is a name"),
        ("tee =", "the policy"),
        ({"root": 1}, "the policy"),
        ("# " + "x" * 70_000, "characters"),
    ],
)
def test_a_policy_that_is_none_is_the_functions_mistake(policy: object, words: str) -> None:
    inside = Inside(policy="x = 1")
    nonce, forged = inside.forge()
    with pytest.raises(FaultError, match=words) as raised:
        inside.judge(of(forged), policy, nonce)
    assert raised.value.fault.code is Code.GUEST_ERROR


@pytest.mark.parametrize(
    "change",
    [
        {"tee": "tdx"},
        {"tee": None},
        {"evidence": "not base64"},
        {"evidence": text(bytes(70_000))},
        {"evidence": ""},
        {"evidence": text(b"short")},
        {"endorsements": text(b"{}")},
        {"endorsements": text(b"[" * 100_000)},
        {"endorsements": None},
        {"hpke_key": text(bytes(31))},
        {"hpke_key": None},
        {"layers": text(b"\xff" * 40)},
        {"more": 1},
    ],
)
def test_malformed_evidence_is_refused_by_a_rule(change: dict[str, Any]) -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    assert rule_of(inside.judge({**of(forged), **change}, fresh(forged), nonce))


@pytest.mark.parametrize("told", [None, 7, "evidence", [], {}])
def test_what_is_no_evidence_is_refused_by_a_rule(told: object) -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    assert rule_of(inside.judge(told, fresh(forged), nonce)) == module.EVIDENCE_RULE


@pytest.mark.parametrize("asked", [b"", b"{", b"[]", b"[1, 2]", b"{}", b"[" * 5000, b'"\xff"'])
def test_a_guest_that_asks_otherwise_is_told_so(asked: bytes) -> None:
    with pytest.raises(FaultError) as raised:
        Inside().ask(Appraise(asked))
    assert raised.value.fault.code is Code.GUEST_ERROR


def test_a_call_has_few_appraisals_and_none_when_its_time_is_over() -> None:
    inside = Inside()
    call = inside.call()
    for _ in range(MAX_APPRAISALS):
        assert rule_of(inside.judge({}, "root = 1", None, call)) == module.EVIDENCE_RULE
    with pytest.raises(FaultError, match="16 pieces"):
        inside.judge({}, "root = 1", None, call)
    nonce, forged = inside.forge()
    with pytest.raises(FaultError) as raised:
        inside.ask(Appraise(encode_json([of(forged), fresh(forged), nonce])), deadline=soon() - 60)
    assert raised.value.fault.code is Code.TIME_LIMIT


# --- time, and what was seen before --------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


def test_collateral_of_last_year_is_refused_though_the_clock_is_set_back() -> None:
    inside = Inside(says=RELEASED - YEAR)
    nonce, forged = inside.forge(now=RELEASED - YEAR)
    assert rule_of(inside.judge(of(forged), fresh(forged), nonce)).endswith("window")


def test_newer_collateral_is_known_to_be_past() -> None:
    inside = Inside(says=INSIDE)
    nonce, forged = inside.forge()
    assert "claims" in inside.judge(of(forged), fresh(forged), nonce)
    assert inside.clock.past == RELEASED  # a root that the image does not name says nothing of the time
    named = Inside(policy=fresh(forged), says=INSIDE)
    named.capability._nonces._waiting.update(inside.capability._nonces._waiting)
    forgery = honest(INSIDE)
    again = named.ask(DrawNonce())
    forgery.nonce = bytes.fromhex(again)
    measured = forgery.sign()
    named = _with_policy(named, fresh(measured))
    assert "claims" in named.judge(of(measured), "partner", again)
    assert named.clock.past > RELEASED
    named.host.says = INSIDE - YEAR
    assert named.clock.now() == named.clock.past


def _with_policy(inside: Inside, policy: str) -> Inside:
    """The same enclave, with a measured policy that was made after its root."""
    inside.capability._rules = AppraiseRules(RELEASED, unsafe=True, policies=(NamedPolicy("partner", policy.encode()),))
    return inside


def numbered(evaluation: int, crl: int) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.tcb_info["tcbEvaluationDataNumber"] = evaluation
        forgery.qe_identity["tcbEvaluationDataNumber"] = evaluation
        others = [each for each in forgery.pck_crl.extensions if not isinstance(each[0], x509.CRLNumber)]
        forgery.pck_crl.extensions = [*others, (x509.CRLNumber(crl), False)]

    return change


class Maker:
    """One simulated maker, whose documents a test issues with other numbers."""

    def __init__(self) -> None:
        self.forgery = honest(INSIDE)

    def signs(self, inside: Inside, evaluation: int, crl: int) -> tuple[str, Forged]:
        nonce = inside.ask(DrawNonce())
        self.forgery.nonce = bytes.fromhex(nonce)
        numbered(evaluation, crl)(self.forgery)
        return nonce, self.forgery.sign()

    def shows(self, inside: Inside, evaluation: int, crl: int) -> Any:
        nonce, forged = self.signs(inside, evaluation, crl)
        return _with_policy(inside, fresh(forged)).judge(of(forged), "partner", nonce)


def test_numbers_that_were_seen_never_fall_in_a_launch() -> None:
    inside, maker = Inside(), Maker()
    assert "claims" in maker.shows(inside, 17, 5)
    assert "claims" in maker.shows(inside, 18, 6)
    assert rule_of(maker.shows(inside, 17, 6)) == EVALUATION_RULE
    assert rule_of(maker.shows(inside, 18, 5)) == LIST_RULE
    assert "claims" in maker.shows(inside, 18, 6)


def test_numbers_that_were_seen_never_fall_where_there_is_state(machine: Lab) -> None:
    host, maker = machine.host(), Maker()
    first = machine.launch(host)
    assert "claims" in maker.shows(Inside(store=first), 18, 6)
    assert contents(first) == {}
    put(first, a=b"1")
    second = machine.launch(host)
    assert rule_of(maker.shows(Inside(store=second), 17, 6)) == EVALUATION_RULE
    assert "claims" in maker.shows(Inside(store=second), 19, 7)
    assert rule_of(maker.shows(Inside(store=first), 18, 7)) == EVALUATION_RULE  # another instance has seen more
    other = machine.launch(host, secs=secs(mr_signer=b"t" * 32))
    assert "claims" in maker.shows(Inside(store=other), 17, 5)


def test_the_time_of_what_was_seen_is_known_to_the_next_launch(machine: Lab) -> None:
    host, maker = machine.host(), Maker()
    assert "claims" in maker.shows(Inside(store=machine.launch(host)), 18, 6)
    later = Inside(store=machine.launch(host), says=RELEASED)
    rule_of(later.judge({}, "root = 1"))
    assert later.clock.past == RELEASED  # what is no evidence does not reach the memory
    nonce, forged = maker.signs(later, 18, 6)
    _with_policy(later, fresh(forged)).judge(of(forged), "partner", nonce)
    assert later.clock.past > RELEASED


def test_strangers_cannot_fill_the_memory_with_roots_of_their_own() -> None:
    inside = Inside()
    for _ in range(3):
        nonce, forged = inside.forge()
        assert "claims" in inside.judge(of(forged), fresh(forged), nonce)
    memory = inside.capability._memory
    assert not memory._highest.numbers
    memory._highest.numbers = {f"{LIST_RULE} {number}": 1 for number in range(MAX_KNOWN)}
    with pytest.raises(FaultError) as raised:
        Maker().shows(inside, 17, 5)
    assert raised.value.fault.code is Code.STATE_LIMIT


# --- secrets -------------------------------------------------------------------------------------------------------


def of_launch(keys: EnclaveKeys) -> Change:
    """Evidence of an enclave that has these keys."""

    def change(forgery: Forgery) -> None:
        forgery.bound = replace(forgery.bound, hpke_key=keys.hpke_key)

    return change


def opened(keys: EnclaveKeys, sealed: str) -> Any:
    heard: list[bytes | FaultError] = []

    async def opening() -> None:
        try:
            call: Any = None
            heard.append(await OpenCapability(keys).answer(OpenSecret(sealed), call, soon()))
        except FaultError as error:
            heard.append(error)

    run(opening())
    if isinstance(heard[0], FaultError):
        raise heard[0]
    return json.loads(heard[0])


def test_a_secret_opens_in_the_appraised_launch_alone() -> None:
    inside, theirs, next_launch = Inside(), EnclaveKeys(), EnclaveKeys()
    nonce, forged = inside.forge(of_launch(theirs))
    call = inside.call()
    said = inside.judge(of(forged), fresh(forged), nonce, call)
    sealed = inside.ask(SealFor(said["number"], b'{"key": 7}'), call)
    assert opened(theirs, sealed) == {"key": 7}
    for keys in (next_launch, inside.keys):
        with pytest.raises(FaultError) as raised:
            opened(keys, sealed)
        assert raised.value.fault.code is Code.CANNOT_OPEN
    raw = bytearray(base64.b64decode(sealed))
    for at in (0, 20, 60, len(raw) - 1):
        raw[at] ^= 1
        with pytest.raises(FaultError):
            opened(theirs, text(bytes(raw)))
        raw[at] ^= 1


@pytest.mark.parametrize("sealed", ["", "x", "é", text(b"casemate secret 1\x00"), text(bytes(100)), "A" * 3_000_000])
def test_other_texts_do_not_open(sealed: str) -> None:
    with pytest.raises(FaultError) as raised:
        opened(EnclaveKeys(), sealed)
    assert raised.value.fault.code is Code.CANNOT_OPEN


def test_a_number_is_of_the_calls_own_appraisals() -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    inside.judge(of(forged), fresh(forged), nonce)
    with pytest.raises(FaultError, match="no claims of this call"):
        inside.ask(SealFor(0, b"1"))


def test_nothing_is_sealed_where_the_evidence_binds_no_key() -> None:
    inside = Inside()
    forged = honest(INSIDE).sign()
    quote = forged.evidence.quote
    policy = replace(
        forged.policy, report_data=ExpectedReportData(quote[48 + 320 : 48 + 384]), layers="UNSAFE_ANY_SANDBOX"
    )
    call = inside.call()
    said = inside.judge(document(quote, None, forged.collateral.encode()), print_policy(policy), None, call)
    with pytest.raises(FaultError, match="binds no key"):
        inside.ask(SealFor(said["number"], b"1"), call)


def test_a_key_that_keeps_no_secret_is_not_sealed_to() -> None:
    with pytest.raises(FaultError) as raised:
        seal_secret(bytes(32), b"1")
    assert raised.value.fault.code is Code.PEER_REFUSED


@pytest.mark.parametrize("value", [b"", b"{", b"\xff"])
def test_only_json_is_sealed(value: bytes) -> None:
    inside = Inside()
    nonce, forged = inside.forge()
    call = inside.call()
    said = inside.judge(of(forged), fresh(forged), nonce, call)
    with pytest.raises(FaultError, match="not JSON"):
        inside.ask(SealFor(said["number"], value), call)


def test_a_nonce_with_a_policy_that_takes_none_is_the_functions_mistake() -> None:
    forged = honest(NOW).sign()
    policy = print_policy(replace(forged.policy, report_data="UNSAFE_ANY_REPORT_DATA", layers="UNSAFE_ANY_SANDBOX"))
    presented = PresentedEvidence.parse(module._object(of(forged)))
    with pytest.raises(PolicyMistakeError, match="takes none"):
        appraise_presented(presented, policy, bytes(32), now=NOW, may_give_up=True)
