"""The table ``[appraise]``: the function may appraise evidence of other enclaves, and keep secrets for those alone.

Example:
    [appraise]
    built = "2026-12-01"
    policies = { partner = "schemas/partner.policy.toml" }
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from casemate.wire.protocol.manifest_table import Files, ManifestError, Table, shown

KEYS: Final = ("built", "unsafe", "policies")

MAX_POLICIES = 32
"""Most policies that a manifest names: each is one to audit."""
MAX_POLICY_FILE = 64 * 1024
"""Longest file with a policy (bytes)."""
POLICY_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)
"""No text of a policy is one, so ``context.appraise`` takes either."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy that is part of the image; whether it is one, the verifier says."""

    name: str
    text: bytes


@dataclass(frozen=True, slots=True)
class AppraiseRules:
    """The table ``[appraise]``."""

    built: datetime
    """The enclave's time never stands before. The author's word: a build that read a clock could not be repeated."""
    unsafe: bool
    """Policies may say ``ANY_`` and ``UNSAFE_``."""
    policies: tuple[NamedPolicy, ...]

    def policy(self, name: str) -> NamedPolicy | None:
        """The policy of that name."""
        return next((policy for policy in self.policies if policy.name == name), None)


def parse_appraise(top: Table, files: Files) -> AppraiseRules | None:
    """The table; None where it is absent.

    Raises:
        ManifestError: names the key.
    """
    if "appraise" not in top:
        return None
    table = top.table("appraise", KEYS)
    policies = table.table("policies", optional=True)
    names = policies.names()
    if len(names) > MAX_POLICIES:
        raise ManifestError(table.key("policies"), got=f"{len(names)} policies", want=f"at most {MAX_POLICIES}")
    return AppraiseRules(
        built=_date(table, "built"),
        unsafe=table.flag("unsafe", absent=False),
        policies=tuple(_policy(policies, name, files) for name in names),
    )


def _policy(table: Table, name: str, files: Files) -> NamedPolicy:
    key = table.key(name)
    if not POLICY_NAME.fullmatch(name):
        raise ManifestError(key, got=shown(name), want="lower-case letters, digits, inner - and _, at most 64")
    text = files.read(key, table.text(name, "the path of a policy under schemas/ or guest/, where files are measured"))
    if not 0 < len(text) <= MAX_POLICY_FILE:
        raise ManifestError(key, got=f"a file of {len(text)} bytes", want=f"1 to {MAX_POLICY_FILE}")
    return NamedPolicy(name, text)


def _date(table: Table, name: str) -> datetime:
    want = 'the day of the build, such as "2026-12-01"'
    text = table.text(name, want)
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:  # the 30th of February
        pass
    raise ManifestError(table.key(name), got=shown(text), want=want)
