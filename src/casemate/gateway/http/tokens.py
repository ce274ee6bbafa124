"""Access tokens: those in the machine's file, and the one of this run."""

import hmac
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.process.plain_file import open_plain
from casemate.wire.errors import WireError
from casemate.wire.protocol.access_tokens import (
    MAX_FILE,
    RESERVED_NAMES,
    RUN,
    AccessToken,
    AccessTokens,
    Role,
    token_digest,
)

RUN_TOKEN = RUN
"""The name in logs of the token that a machine makes at its start."""

_BEARER = {"WWW-Authenticate": 'Bearer realm="casemate"'}
_BAD_BEARER = {"WWW-Authenticate": 'Bearer realm="casemate", error="invalid_token"'}
_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int, int]
"""The values by which a changed file is noticed: times, inode, size."""


class TokenStore:
    """Knows tokens by their digests. It reads the file again when it changes, so revoking a token takes effect at once.

    A file that cannot be read or parsed lets nobody in: only the run's own token is left.
    """

    def __init__(self, path: Path, run_digest: bytes | None) -> None:
        self._path = path
        self._name = str(path)
        self._stamp: _Stamp | None = None
        self._trouble = ""
        self._tokens = AccessTokens()
        self._run = None
        if run_digest is not None:
            self._run = AccessToken(RUN_TOKEN, Role.ADMIN, datetime.now(UTC).replace(microsecond=0), run_digest)

    def admit(self, headers: list[tuple[bytes, bytes]]) -> AccessToken:
        """The token in a request's Authorization header (RFC 6750, section 2.1).

        Raises:
            ProblemError: there is none, there are several, or it is unknown.
        """
        given = [value for name, value in headers if name == b"authorization"]
        if not given:
            detail = "no Authorization header; want `Authorization: Bearer casemate_...`"
            raise ProblemError(Trouble.TOKEN_WANTED, detail, headers=_BEARER)
        scheme, _, text = given[0].decode("latin-1").partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            detail = "the Authorization header is not `Bearer casemate_...`, given once"
            raise ProblemError(Trouble.TOKEN_WANTED, detail, headers=_BEARER)
        known = self._find(text.strip(" "))
        if known is None:
            detail = "this machine does not know that token; it may have been made by an earlier run, or taken away"
            raise ProblemError(Trouble.TOKEN_UNKNOWN, detail, headers=_BAD_BEARER)
        return known

    def holds(self, token: AccessToken) -> bool:
        """Whether an admitted token is still good: it was not revoked and has lost no rights."""
        now = self._by(token.digest)
        return now is not None and now.role.allows(token.role)

    def _find(self, text: str) -> AccessToken | None:
        try:
            return self._by(token_digest(text))
        except WireError:
            return None

    def _by(self, digest: bytes) -> AccessToken | None:
        run = self._run if self._run is not None and hmac.compare_digest(self._run.digest, digest) else None
        return self._read().find(digest) or run

    def _read(self) -> AccessTokens:
        """The file's tokens. The file's stamp is set last, so that a failed reading is repeated."""
        try:
            if _stamp(os.stat(self._name)) != self._stamp:  # noqa: PTH116 - for each request: a Path takes as long as the kernel
                self._stamp, self._tokens = None, AccessTokens()
                with os.fdopen(open_plain(self._path), "rb") as file:
                    stamp = _stamp(os.fstat(file.fileno()))
                    text = file.read(MAX_FILE + 1)
                self._tokens = self._heeded(text)
                self._stamp, self._trouble = stamp, ""
        except FileNotFoundError:
            self._stamp, self._tokens = None, AccessTokens()
        except OSError as error:
            self._stamp, self._tokens = None, AccessTokens()
            self._say(f"tokens of {self._path} are not heeded: {error}")
        return self._tokens

    def _heeded(self, text: bytes) -> AccessTokens:
        """The usable tokens: none of a damaged file, and none whose name has another meaning in logs."""
        try:
            found = AccessTokens.parse(text)
        except WireError as error:
            self._say(f"tokens of {self._path} are not heeded: {error}")
            return AccessTokens()
        reserved = [token.name for token in found.tokens if token.name in RESERVED_NAMES]
        if reserved:
            self._say(f"tokens of {self._path} with names that are reserved are not heeded: {', '.join(reserved)}")
        return AccessTokens(tuple(token for token in found.tokens if token.name not in RESERVED_NAMES))

    def _say(self, trouble: str) -> None:
        """Logs a warning once instead of with each request."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("%s", trouble)


def ended() -> ProblemError:
    """The refusal for a token that was good when the request came and is not any more."""
    detail = "the token was taken away, or has another role now"
    return ProblemError(Trouble.TOKEN_UNKNOWN, detail, headers=_BAD_BEARER)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size
