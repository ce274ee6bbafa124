"""Policies that accept what a function's owner has released: the list's signature, and that it never goes back.

In a policy's file a table stands where the measurements would::

    mr_enclave = { releases = "hello.releases.json", owner = "ed25519:...", name = "hello" }

The highest version that was seen is kept beside the policy, in ``POLICY.seen``. A list of a lower version is refused:
whoever hands it on may want the caller to trust a release that the owner has taken back.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from casemate.client.caller_keys import CallerKey
from casemate.process.durable_files import write_whole
from casemate.process.plain_file import NoPlainFileError, read_plain
from casemate.verifier import PolicyError, parse_any_policy
from casemate.verifier.policy_text import MAX_POLICY, policy_body
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.errors import CasemateError, WireError, os_error_text
from casemate.wire.protocol.caller_key import caller_key_text, has_small_order, parse_caller_key
from casemate.wire.protocol.release_list import MAX_LIST, MAX_VERSION, Release, ReleaseList, signed_bytes

if TYPE_CHECKING:
    from casemate.verifier import AllOfPolicy, AnyPolicy

MEMBERS: dict[str, Callable[[Release], bytes]] = {
    "mr_enclave": lambda release: release.mr_enclave,
    "measurement": lambda release: release.launch_digest,
}
"""The members of policies in whose place a list may stand, and what of each release they name."""

MAX_SEEN = 64 * 1024
"""Longest record of versions (bytes)."""


class ReleaseListRefusedError(CasemateError):
    """A list of releases is not the owner's, or an older one: the message names the rule, what was found and wanted."""

    def __init__(self, rule: str, *, got: object, want: object) -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.rule = rule
        self.got = got
        self.want = want


class SeenVersionsError(CasemateError):
    """The record of the highest versions that were seen cannot be read or written."""


def read_policy(path: Path) -> "AnyPolicy | AllOfPolicy":
    """The policy in a file, with what the lists of releases that it names accept now.

    Raises:
        PolicyError: it is no policy, or a list that it names cannot be read.
        ReleaseListRefusedError: a list is not its owner's, or older than one that was seen.
        SeenVersionsError: what was seen cannot be read, or cannot be kept.
    """
    try:
        text = read_plain(path.resolve(), MAX_POLICY + 1).decode("utf-8-sig")
    except OSError as error:
        raise PolicyError(f"policy {path}: {os_error_text(error)}") from None
    except UnicodeDecodeError:
        raise PolicyError(f"policy {path}: got bytes that are no UTF-8, want TOML or JSON") from None
    return parse_any_policy(with_releases(text, path))


def with_releases(text: str, path: Path) -> str:
    """The text of a policy in which measurements stand for the lists that it names; the same text, if it names none.

    Args:
        text: the policy's.
        path: its file, beside which lists are looked for, and what was seen is kept.

    Raises:
        PolicyError, ReleaseListRefusedError, SeenVersionsError: as :func:`read_policy`; but what else is wrong with
            the policy, :func:`parse_any_policy` says.
    """
    try:
        body = policy_body(text)
        members = {name: body.value(name) for name in body.names()}
    except WireError:
        return text
    tables = [*_tables(members)]
    if not tables:
        return text
    with _seen(path) as seen:
        accepted = [_accepted(JsonObject(f"policy.{member}", of[member]), member, path, seen) for of, member in tables]
    for (of, member), found in zip(tables, accepted, strict=True):
        if not found.releases:
            got = f"an empty list, version {found.version}"
            raise ReleaseListRefusedError("releases.none", got=got, want="a release")
        of[member] = [MEMBERS[member](release).hex() for release in found.releases]
    try:
        return json.dumps(members)
    except TypeError:
        raise PolicyError("a date or time is no text: times are written in quotes") from None


def check_signature(found: ReleaseList, owner: bytes) -> None:
    """Refuses a list that the owner's key (Ed25519) did not sign, and any under a key for which anybody can sign."""
    if has_small_order(owner):
        raise ReleaseListRefusedError("releases.owner", got=caller_key_text(owner), want="a key that has an owner")
    try:
        Ed25519PublicKey.from_public_bytes(owner).verify(found.signature, found.signed_bytes())
    except (InvalidSignature, ValueError):
        raise ReleaseListRefusedError(
            "releases.signature", got="one that does not verify", want=f"one by {caller_key_text(owner)}"
        ) from None


def sign_list(name: str, version: int, releases: tuple[Release, ...], key: CallerKey) -> ReleaseList:
    """A list, signed by its owner; :class:`WireError` where it makes no sense."""
    ordered = tuple(sorted(set(releases)))
    return ReleaseList(name, version, ordered, key.sign(signed_bytes(name, version, ordered)))


def _tables(members: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The tables that stand for measurements, of this policy and of those that it is composed of."""
    for member in MEMBERS:
        if isinstance(members.get(member), dict):
            yield members, member
    for composed in ("any_of", "all_of"):
        inner = members.get(composed)
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, dict):
                yield from _tables(each)


def _accepted(table: JsonObject, member: str, path: Path, seen: dict[str, int]) -> ReleaseList:
    """The list that a table names, if it is its owner's and no older than what was seen; takes note of its version."""
    try:
        table.only("releases", "owner", "name", "minimum_version")
        owner = parse_caller_key(f"policy.{member}.owner", table.text("owner"))
        name, place = table.text("name"), path.parent / table.text("releases")
        least = table.uint("minimum_version", MAX_VERSION) if table.has("minimum_version") else 1
        found = ReleaseList.parse(_content(place))
    except WireError as error:
        raise PolicyError(str(error)) from None
    check_signature(found, owner)
    if found.name != name:
        raise ReleaseListRefusedError("releases.name", got=found.name, want=name)
    known = f"{caller_key_text(owner)} {name}"
    newest = max(seen.get(known, 0), least)
    if found.version < newest:
        raise ReleaseListRefusedError(
            "releases.version", got=found.version, want=f"{newest} or above, which was seen or is demanded"
        )
    if found.version > newest:
        seen[known] = found.version
    return found


def _content(place: Path) -> bytes:
    """The bytes of a list's file, one more than it may have where it is longer."""
    try:
        return read_plain(place.resolve(), MAX_LIST + 1)  # never a pipe into which nobody writes
    except NoPlainFileError as error:
        raise PolicyError(f"release list {error}") from None
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        said = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise PolicyError(f"release list {place}: {said}") from None


@contextmanager
def _seen(policy: Path) -> Iterator[dict[str, int]]:
    """The highest version seen of each list. What the block changes in it is kept, before anybody relies on it.

    The policy's file is locked meanwhile: of two programs at once, neither undoes what the other has seen.
    """
    place = policy.with_name(f"{policy.name}.seen")
    try:
        descriptor = os.open(policy, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PolicyError(f"policy {policy}: {os_error_text(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = _read_seen(place)
        seen = dict(before)
        yield seen
        if seen != before:
            content = json.dumps({"seen": dict(sorted(seen.items()))}, indent=1).encode() + b"\n"
            try:
                write_whole(place, content, mode=0o644)
            except OSError as error:
                newest = ", ".join(str(version) for known, version in seen.items() if before.get(known) != version)
                failed = SeenVersionsError(f"{place} cannot be written: {os_error_text(error)}")
                failed.advice = f"make its folder writable; or demand this very version: minimum_version = {newest}"
                raise failed from None
    finally:
        os.close(descriptor)


def _read_seen(place: Path) -> dict[str, int]:
    try:
        text = read_plain(place, MAX_SEEN + 1)
        body = parse_object("seen versions", text, limit=MAX_SEEN).child("seen")
        return {name: body.uint(name, MAX_VERSION) for name in body.names()}
    except FileNotFoundError:
        return {}
    except (OSError, WireError) as error:
        said = os_error_text(error) if isinstance(error, OSError) else str(error)
        failed = SeenVersionsError(f"{place}: {said}")
        failed.advice = "restore it; or remove it, once you know by another way which version is the newest"
        raise failed from None
