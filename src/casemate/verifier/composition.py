"""Policies composed of policies: ``any_of`` accepts one piece of evidence, ``all_of`` several pieces together.

``any_of`` accepts a piece of evidence that at least one of its members accepts. The verified evidence is of that
member's kind. A simulated root is trusted only if that member names it.

``all_of`` accepts as many pieces of evidence as it has members. Each piece satisfies a different member, no piece
counts twice, and all pieces are evidence of one code.

*One code* is a pair of digests that the policy states: MRENCLAVE and the SEV-SNP launch digest of the same pages. They
are different hashes, so a verifier cannot tell from the digests that they belong together. The author of the policy
can: whoever has the image computes both. The evidence then shows that both digests are what runs.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from casemate.verifier.checks import CheckGroup, CheckTree, RefusedError
from casemate.verifier.demands import PolicyError, check_sizes
from casemate.verifier.either import (
    AnyEndorsements,
    AnyEvidence,
    AnyVerifiedEvidence,
    TeePolicy,
    appraise_for_tee,
    explain_for_tee,
    kind_of,
)
from casemate.verifier.policy_text import PolicyFormat, plain_policy, policy_body, read_policy, toml_value
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence
from casemate.verifier.sgx.policy import SgxPolicy
from casemate.verifier.snp.evidence import VerifiedSnpEvidence
from casemate.verifier.snp.policy import SnpPolicy
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import WireError

MAX_MEMBERS = 8
"""Most members of a composition. Each piece of evidence may be appraised once for each member."""

MAX_CODES = 64
"""Most pairs of digests in a policy, one for each version of an image in use."""

_MR_ENCLAVE_SIZE = 32
_LAUNCH_DIGEST_SIZE = 48


@dataclass(frozen=True, slots=True)
class AnyOfPolicy:
    """Accepts evidence that at least one member accepts."""

    members: tuple[TeePolicy, ...]

    def __post_init__(self) -> None:
        _check_members("any_of", self.members, (SgxPolicy, SnpPolicy))

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy with a challenge's nonce; :class:`PolicyError` if a member does not demand a fresh nonce."""
        return self.changed(lambda member: member.with_nonce(nonce))

    def changed(self, change: Callable[[TeePolicy], TeePolicy]) -> Self:
        """This composition with ``change`` applied to each member."""
        return type(self)(tuple(map(change, self.members)))

    def weaknesses(self) -> tuple[str, ...]:
        """The protections that at least one member gives up, by name."""
        return _weaknesses(self.members)


AnyPolicy = SgxPolicy | SnpPolicy | AnyOfPolicy
"""A policy for one piece of evidence."""


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """The measurements of one code, one for each kind of TEE."""

    mr_enclave: bytes
    launch_digest: bytes

    def __post_init__(self) -> None:
        check_sizes("mr_enclave", frozenset({self.mr_enclave}), _MR_ENCLAVE_SIZE)
        check_sizes("launch_digest", frozenset({self.launch_digest}), _LAUNCH_DIGEST_SIZE)

    def is_of(self, verified: AnyVerifiedEvidence) -> bool:
        """True if the evidence has this code's measurement for its kind of TEE."""
        match verified:
            case VerifiedSgxEvidence():
                return verified.measurement == self.mr_enclave
            case VerifiedSnpEvidence():
                return verified.measurement == self.launch_digest


@dataclass(frozen=True, slots=True)
class AllOfPolicy:
    """Accepts several pieces of evidence together, each of which satisfies a different member."""

    members: tuple[AnyPolicy, ...]
    code: frozenset[CodeIdentity] | Literal["ANY_CODE"]
    """All pieces have the measurements of one of these. ``ANY_CODE``: only the members' own demands count."""

    def __post_init__(self) -> None:
        _check_members("all_of", self.members, (SgxPolicy, SnpPolicy, AnyOfPolicy))
        if self.code == "ANY_CODE":
            return
        code: object = self.code  # callers without a type checker may pass any text
        if not isinstance(code, frozenset) or not all(isinstance(each, CodeIdentity) for each in code):
            raise PolicyError("code wants a set of CodeIdentity, or ANY_CODE")
        if not self.code:
            raise PolicyError("code is an empty set, which accepts nothing: name a pair of digests, or write ANY_CODE")

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy with the nonce of one challenge, which every piece answers.

        Raises:
            PolicyError: a member does not demand a fresh nonce.
        """
        return type(self)(tuple(member.with_nonce(nonce) for member in self.members), self.code)

    def weaknesses(self) -> tuple[str, ...]:
        """The protections that at least one member gives up, by name."""
        return _weaknesses(self.members)


@dataclass(frozen=True, slots=True)
class Piece:
    """One of several pieces of evidence with its maker's endorsements; unverified."""

    evidence: AnyEvidence
    endorsements: AnyEndorsements


@dataclass(frozen=True, slots=True, init=False)
class VerifiedComposite:
    """Pieces of evidence that one policy accepted together at one time."""

    parts: tuple[AnyVerifiedEvidence, ...]
    """The verified pieces, in the order of the policy's members."""
    code: CodeIdentity | None
    """The code that all parts are evidence of; None if the policy says ANY_CODE."""
    appraised_at: datetime
    expires_at: datetime
    """The earliest time at which a part expires."""

    def __init__(self) -> None:
        raise TypeError("VerifiedComposite is made by casemate.verifier.appraise_all alone")


class CompositionRefusedError(RefusedError):
    """No member of a composition accepts the evidence; holds each member's refusal."""

    def __init__(self, rule: Rule, refusals: tuple[tuple[str, RefusedError], ...], *, want: str) -> None:
        super().__init__(rule, got="; ".join(f"{name}: {refusal}" for name, refusal in refusals), want=want)
        self.refusals = refusals
        """Each with the name of the member whose it is."""
        advice = {refusal.advice for _, refusal in refusals}
        self.advice = advice.pop() if len(advice) == 1 else ""


def appraise_any(
    evidence: AnyEvidence, policy: AnyPolicy | AllOfPolicy, endorsements: AnyEndorsements, now: datetime
) -> AnyVerifiedEvidence:
    """The verified evidence, if every rule of its kind holds. An ``any_of`` uses the first member that accepts.

    Args:
        evidence: of any kind of TEE.
        policy: for that kind, or an ``any_of`` with a member for that kind.
        endorsements: for that kind.
        now: the time.

    Raises:
        RefusedError: the first rule that does not hold; ``evidence.kind`` if evidence and policy are of different
            kinds; ``policy.any-of``, a :class:`CompositionRefusedError`, if no member accepts; ``policy.all-of`` if the
            policy wants several pieces (:func:`appraise_all`).
        TypeError: ``now`` has no time zone.
    """
    if isinstance(policy, AllOfPolicy):
        wanted = f"{len(policy.members)} pieces, as all_of has members"
        raise RefusedError(Rule.POLICY_ALL_OF, got="one piece of evidence", want=wanted)
    if not isinstance(policy, AnyOfPolicy):
        return appraise_for_tee(evidence, policy, endorsements, now)
    refusals = []
    for name, member in _named(policy.members):
        try:
            return appraise_for_tee(evidence, member, endorsements, now)
        except RefusedError as refusal:
            refusals.append((name, refusal))
    raise CompositionRefusedError(
        Rule.POLICY_ANY_OF, tuple(refusals), want=f"evidence that one of {len(refusals)} members accepts"
    )


def explain_any(evidence: AnyEvidence, policy: AnyPolicy, endorsements: AnyEndorsements, now: datetime) -> CheckTree:
    """Every check of :func:`appraise_any`. For an ``any_of``: those of the member that accepts, or of all members."""
    if not isinstance(policy, AnyOfPolicy):
        return explain_for_tee(evidence, policy, endorsements, now)
    groups: list[CheckGroup] = []
    for name, member in _named(policy.members):
        tree = explain_for_tee(evidence, member, endorsements, now)
        named = [CheckGroup(f"{name}: {group.title}", group.checks) for group in tree.groups]
        if tree.refusal is None:
            return CheckTree(tuple(named))
        groups += named
    return CheckTree(tuple(groups))


def appraise_all(pieces: Sequence[Piece], policy: AllOfPolicy, now: datetime) -> VerifiedComposite:
    """The verified evidence of several makers, if each piece satisfies a different member and all are of one code.

    1. There are as many pieces as members, and all pieces differ.
    2. The pieces can be assigned to members so that each member accepts its piece. The order of pieces is irrelevant.
    3. One of the policy's pairs of digests matches the measurements of all pieces.

    Args:
        pieces: each with its endorsements, in any order.
        policy: the members and the codes allowed.
        now: the time at which all pieces are appraised.

    Raises:
        RefusedError: ``policy.all-of`` (steps 1 and 2) or ``policy.one-code`` (step 3).
        TypeError: ``now`` has no time zone.
    """
    _check_pieces(pieces, policy)  # 1
    parts = _assigned(pieces, policy, now)  # 2
    code = None if policy.code == "ANY_CODE" else _one_code(parts, policy.code)  # 3
    return _vouch(parts, code, now)


def parse_any_policy(text: str) -> AnyPolicy | AllOfPolicy:
    """The policy that a text states: for the kind of TEE whose measurement it names, or a composition.

    Raises:
        PolicyError: the text is not a valid policy; the error names the member of a composition.
    """
    try:
        return _read(policy_body(text))
    except WireError as error:
        raise PolicyError(str(error)) from None


def print_any_policy(policy: AnyPolicy | AllOfPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy of any kind; :func:`parse_any_policy` gives the same policy again."""
    plain = _plain(policy)
    if form is PolicyFormat.JSON:
        return json.dumps(plain, indent=2) + "\n"
    return "\n".join(_toml(plain, "")) + "\n"


def given_up(policy: AnyPolicy | AllOfPolicy) -> tuple[str, ...]:
    """The words ``ANY_...`` and ``UNSAFE_...`` in a policy's text by which it looks at something less, each once.

    Not those that a younger member has where it is left out; nor that of the one identity (MRENCLAVE, MRSIGNER) beside
    the other, which the policy names.
    """
    return tuple(dict.fromkeys(_words_in(_plain(policy))))


def _words_in(value: object) -> Iterator[str]:
    match value:
        case str() if value.startswith(("ANY_", "UNSAFE_")):
            yield value
        case list():
            for item in value:
                yield from _words_in(item)
        case dict():
            for name, item in value.items():
                if item != _COVERED.get(name) or not isinstance(value.get(_COVERED_BY[name]), list):
                    yield from _words_in(item)


_COVERED = {"mr_enclave": "ANY_MRENCLAVE", "mr_signer": "ANY_MRSIGNER"}
_COVERED_BY = {"mr_enclave": "mr_signer", "mr_signer": "mr_enclave"}


def _check_pieces(pieces: Sequence[Piece], policy: AllOfPolicy) -> None:
    wanted = len(policy.members)
    distinct = {_bytes_of(piece.evidence) for piece in pieces}
    if len(pieces) != wanted or len(distinct) != wanted:
        twice = "" if len(distinct) == len(pieces) else f", {len(distinct)} of them distinct"
        raise RefusedError(
            Rule.POLICY_ALL_OF, got=f"{len(pieces)} pieces of evidence{twice}", want=f"{wanted}, one for each member"
        )


def _assigned(pieces: Sequence[Piece], policy: AllOfPolicy, now: datetime) -> tuple[AnyVerifiedEvidence, ...]:
    """The verified piece for each member, in the order of the members."""
    accepted: list[dict[int, AnyVerifiedEvidence]] = []
    refusals: list[tuple[str, RefusedError]] = []
    for name, member in _named(policy.members):
        found, refused = _accepted_by(member, pieces, now)
        accepted.append(found)
        if not found:
            refusals.append((name, refused))
    if refusals:
        raise CompositionRefusedError(Rule.POLICY_ALL_OF, tuple(refusals), want="a piece that each member accepts")
    piece_of = _matching(accepted)
    if piece_of is None:
        raise RefusedError(
            Rule.POLICY_ALL_OF,
            got="two members that accept the same piece, and no other",
            want="a piece of its own for each member",
        )
    return tuple(found[piece_of[member]] for member, found in enumerate(accepted))


def _accepted_by(
    member: AnyPolicy, pieces: Sequence[Piece], now: datetime
) -> tuple[dict[int, AnyVerifiedEvidence], RefusedError]:
    """The pieces that a member accepts, by number; and one of its refusals, preferably of a piece of its own kind."""
    found: dict[int, AnyVerifiedEvidence] = {}
    refusal = RefusedError(Rule.POLICY_ALL_OF, got="none", want="a piece of evidence")
    for number, piece in enumerate(pieces):
        try:
            found[number] = appraise_any(piece.evidence, member, piece.endorsements, now)
        except RefusedError as error:
            if error.rule is not Rule.EVIDENCE_KIND or refusal.rule is Rule.POLICY_ALL_OF:
                refusal = error
    return found, refusal


def _matching(accepted: Sequence[Mapping[int, object]]) -> dict[int, int] | None:
    """A different accepted piece for each member (bipartite matching by augmenting paths); None if impossible."""
    member_of: dict[int, int] = {}

    def assign(member: int, tried: set[int]) -> bool:
        for piece in accepted[member]:
            if piece in tried:
                continue
            tried.add(piece)
            if piece not in member_of or assign(member_of[piece], tried):
                member_of[piece] = member
                return True
        return False

    if not all(assign(member, set()) for member in range(len(accepted))):
        return None
    return {member: piece for piece, member in member_of.items()}


def _one_code(parts: tuple[AnyVerifiedEvidence, ...], allowed: frozenset[CodeIdentity]) -> CodeIdentity:
    for code in sorted(allowed, key=lambda each: (each.mr_enclave, each.launch_digest)):
        if all(code.is_of(part) for part in parts):
            return code
    raise RefusedError(
        Rule.POLICY_ONE_CODE,
        got=", ".join(part.measurement.hex() for part in parts),
        want=f"the measurements of one of the {len(allowed)} codes that the policy names",
    )


def _vouch(parts: tuple[AnyVerifiedEvidence, ...], code: CodeIdentity | None, now: datetime) -> VerifiedComposite:
    verified = object.__new__(VerifiedComposite)
    for name, value in (
        ("parts", parts),
        ("code", code),
        ("appraised_at", now),
        ("expires_at", min(part.expires_at for part in parts)),
    ):
        object.__setattr__(verified, name, value)
    return verified


def _check_members(name: str, members: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(members, tuple) or not all(isinstance(member, kinds) for member in members):
        raise PolicyError(f"{name} wants a tuple of {', '.join(kind.__name__ for kind in kinds)}")
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise PolicyError(f"{name} has {len(members)} members, want 1 to {MAX_MEMBERS}")
    for number, member in enumerate(members):
        if member in members[:number]:
            raise PolicyError(f"{name} has the same member twice: numbers {members.index(member) + 1} and {number + 1}")


def _weaknesses(members: Sequence[AnyPolicy]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for member in members for word in member.weaknesses()))


def _named(members: Sequence[AnyPolicy]) -> list[tuple[str, Any]]:
    """Each member with the name that refusals use for it: number and kind."""
    return [
        (f"member {number} ({'any_of' if isinstance(member, AnyOfPolicy) else kind_of(member)})", member)
        for number, member in enumerate(members, 1)
    ]


def _bytes_of(evidence: AnyEvidence) -> bytes:
    return evidence.quote if isinstance(evidence, SgxEvidence) else evidence.report


def _read(body: JsonObject) -> AnyPolicy | AllOfPolicy:
    if not body.has("all_of"):
        return _read_any(body)
    body.only("all_of", "code")
    members = tuple(_within(f"all_of[{number}]", member, _read_any) for number, member in _members_of(body, "all_of"))
    return AllOfPolicy(members, _read_code(body))


def _read_any(body: JsonObject) -> AnyPolicy:
    if not body.has("any_of"):
        return _read_one(body)
    body.only("any_of")
    return AnyOfPolicy(
        tuple(_within(f"any_of[{number}]", member, _read_one) for number, member in _members_of(body, "any_of"))
    )


def _read_one(body: JsonObject) -> TeePolicy:
    for name in ("any_of", "all_of"):
        if body.has(name):
            raise WireError(
                "policy", got=f"{name} in a member", want="a policy for one TEE; any_of may be in all_of alone"
            )
    return read_policy(SnpPolicy, body) if body.has("measurement") else read_policy(SgxPolicy, body)


def _members_of(body: JsonObject, name: str) -> list[tuple[int, JsonObject]]:
    """The members with their numbers, each in the form of a policy's text."""
    found = body.children(name, limit=MAX_MEMBERS)
    return [
        (number, JsonObject("policy", {each: member.value(each) for each in member.names()}))
        for number, member in enumerate(found, 1)
    ]


def _within(place: str, member: JsonObject, read: Callable[[JsonObject], Any]) -> Any:
    try:
        return read(member)
    except (WireError, PolicyError) as error:
        raise PolicyError(f"{place}: {error}") from None


def _read_code(body: JsonObject) -> frozenset[CodeIdentity] | Literal["ANY_CODE"]:
    if body.value("code") == "ANY_CODE":
        return "ANY_CODE"
    codes = []
    for pair in body.children("code", limit=MAX_CODES):
        pair.only("mr_enclave", "launch_digest")
        digests = (pair.hexadecimal(name, size) for name, size in _DIGESTS.items())
        codes.append(CodeIdentity(*digests))
    return frozenset(codes)


_DIGESTS = {"mr_enclave": _MR_ENCLAVE_SIZE, "launch_digest": _LAUNCH_DIGEST_SIZE}


def _plain(policy: AnyPolicy | AllOfPolicy) -> dict[str, Any]:
    match policy:
        case AnyOfPolicy(members):
            return {"any_of": [_plain(member) for member in members]}
        case AllOfPolicy(members, code):
            pairs = [{name: getattr(each, name).hex() for name in _DIGESTS} for each in code if code != "ANY_CODE"]
            pairs.sort(key=lambda pair: pair["mr_enclave"] + pair["launch_digest"])
            return {"code": "ANY_CODE" if code == "ANY_CODE" else pairs, "all_of": list(map(_plain, members))}
        case _:
            return plain_policy(policy)


def _toml(plain: dict[str, Any], path: str) -> list[str]:
    """The TOML lines of a policy. Members of compositions are written as tables, all other values inline."""
    tables = {name: value for name, value in plain.items() if name in ("any_of", "all_of")}
    lines = [f"{name} = {toml_value(value)}" for name, value in plain.items() if name not in tables]
    for name, members in tables.items():
        for member in members:
            lines += ["", f"[[{path}{name}]]", *_toml(member, f"{path}{name}.")]
    return lines
