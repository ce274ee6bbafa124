"""Who may pass the gateway: the bearer tokens of the machine's file and the one of this run."""

import hmac
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from casemate.gateway.problems import ProblemError, Trouble
from casemate.wire.access_tokens import MAX_FILE, AccessToken, AccessTokens, Role, token_digest
from casemate.wire.errors import WireError

RUN_TOKEN = "run"  # noqa: S105 - its name
"""What logs call the token that a machine makes at its start."""

_BEARER = {"WWW-Authenticate": 'Bearer realm="casemate"'}
_BAD_BEARER = {"WWW-Authenticate": 'Bearer realm="casemate", error="invalid_token"'}
_log = logging.getLogger(__name__)


class TokenDesk:
    """Knows tokens by their digests. The file is read anew when it changes, so a token that is taken away ends at once.

    A file that cannot be read or parsed lets nobody in: only the run's own token is left.
    """

    def __init__(self, path: Path, run_digest: bytes | None) -> None:
        self._path = path
        self._name = str(path)
        self._stamp: tuple[int, int, int] | None = None
        self._tokens = AccessTokens()
        self._run = None
        if run_digest is not None:
            self._run = AccessToken(RUN_TOKEN, Role.ADMIN, datetime.now(UTC).replace(microsecond=0), run_digest)

    def admit(self, headers: list[tuple[bytes, bytes]]) -> AccessToken:
        """The token that a request bears in its Authorization header (RFC 6750, section 2.1).

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

    def _find(self, text: str) -> AccessToken | None:
        try:
            digest = token_digest(text)
        except WireError:
            return None
        run = self._run if self._run is not None and hmac.compare_digest(self._run.digest, digest) else None
        return self._read().find(digest) or run

    def _read(self) -> AccessTokens:
        try:
            status = os.stat(self._name)  # noqa: PTH116 - for each request: a Path takes as long as the kernel
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._stamp = stamp
                self._tokens = AccessTokens()
                with self._path.open("rb") as file:
                    self._tokens = AccessTokens.parse(file.read(MAX_FILE + 1))
        except FileNotFoundError:
            self._stamp, self._tokens = None, AccessTokens()
        except (OSError, WireError) as error:
            self._tokens = AccessTokens()
            _log.error("tokens of %s are not heeded: %s", self._path, error)
        return self._tokens
