"""Policies as text, for files and for people: TOML, or JSON with the same members.

The members are those of the policy's class: :mod:`casemate.verifier.demands`. Those with a default may be left out, and
are left out in print where they have it.
"""

import json
from enum import StrEnum
from typing import Any, TypeVar

from casemate.verifier.demands import Member, PolicyError, members_of
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import WireError

P = TypeVar("P")

MAX_POLICY = 256 * 1024
"""Longest policy (bytes)."""


class PolicyFormat(StrEnum):
    """How a policy is written down."""

    TOML = "toml"
    JSON = "json"


def policy_body(text: str) -> JsonObject:
    """The members of a policy's text, which is JSON if it starts with a brace; :class:`WireError` where it has none."""
    if text.lstrip().startswith("{"):
        return parse_object("policy", text.encode("utf-8", "replace"), limit=MAX_POLICY)
    return JsonObject("policy", parse_toml("policy", text.encode("utf-8", "replace"), limit=MAX_POLICY))


def parse_policy_text(of: type[P], text: str) -> P:
    """The policy of one class in ``text``: JSON if it starts with a brace, else TOML.

    Raises:
        PolicyError: it is neither, a member is missing, unknown or of the wrong kind, or the policy makes no sense.
    """
    try:
        return read_policy(of, policy_body(text))
    except WireError as error:
        raise PolicyError(str(error)) from None


def read_policy(of: type[P], body: JsonObject) -> P:
    """The policy of one class with these members; :class:`WireError` for a missing, unknown or malformed one."""
    members = members_of(of)
    body.only(*(member.name for member in members))
    given = [member for member in members if member.is_required or member.name in body.names()]
    return of(**{member.name: _read_member(body, member) for member in given})


def plain_policy(policy: object) -> dict[str, Any]:
    """The members of a policy as JSON and TOML have them."""
    values = ((member, getattr(policy, member.name)) for member in members_of(type(policy)))
    return {member.name: _plain(member, value) for member, value in values if value != member.default}


def print_policy_text(policy: object, form: PolicyFormat) -> str:
    """The text of a policy; :func:`parse_policy_text` gives the same policy again."""
    members = plain_policy(policy)
    if form is PolicyFormat.JSON:
        return json.dumps(members, indent=2) + "\n"
    tables = {name: value for name, value in members.items() if _is_tables(value)}
    lines = [f"{name} = {toml_value(value)}" for name, value in members.items() if name not in tables]
    for name, value in tables.items():
        for table in value:
            lines += ["", f"[[{name}]]", *(f"{key} = {toml_value(item)}" for key, item in table.items())]
    return "\n".join(lines) + "\n"


def policy_table(of: type) -> str:
    """The documents' table of a policy's members, in Markdown."""
    lines = ["| member | values | rule |", "| --- | --- | --- |"]
    for member in members_of(of):
        choice = "; ".join(
            part for part in (member.demand.kind.takes, *(f'`"{word}"`' for word in member.words)) if part
        )
        note = f". {member.demand.note}" if member.demand.note else ""
        left_out = "" if member.is_required else f". Left out: `{toml_value(_plain(member, member.default))}`"
        lines.append(f"| `{member.name}` | {choice}{note}{left_out} | `{member.demand.rule}` |")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """An inline TOML value. JSON's strings are TOML's, but for DEL, which TOML wants escaped."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {toml_value(item)}' for name, item in value.items())} }}"
        case _:
            return str(value)


def _read_member(body: JsonObject, member: Member) -> Any:
    """One of the member's words, or its value.

    Raises:
        WireError: it is neither, or not there; the error lists the words, and says what else the member takes.
    """
    where = f"policy.{member.name}"
    try:
        value = body.value(member.name)
        return value if isinstance(value, str) and value in member.words else member.demand.kind.read(body, member.name)
    except WireError as error:
        if error.field != where:  # something within the member's value, of which the error says enough
            raise
        raise WireError(where, got=error.got, want=_wanted(member)) from None


def _wanted(member: Member) -> str:
    takes, words = member.demand.kind.takes, member.words
    choice = "" if not words else words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    return f"{takes}, or {choice}" if takes and choice else takes or choice


def _plain(member: Member, value: Any) -> Any:
    return value if isinstance(value, str) and value in member.words else member.demand.kind.plain(value)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
