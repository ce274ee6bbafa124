"""The outermost layer: every request passes here, in one order, before any route sees it."""

import re
import secrets
import time
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casemate.gateway.bodies import Memory, Share
from casemate.gateway.cors import Cors
from casemate.gateway.hosts import check_host
from casemate.gateway.limits import AtOnce, RateLimit
from casemate.gateway.problems import ProblemError
from casemate.gateway.refusals import refusal
from casemate.gateway.settings import Settings
from casemate.gateway.tokens import TokenDesk
from casemate.host.entry_queue import CALLER
from casemate.wire.access_tokens import AccessToken
from casemate.wire.faults import Code

OPEN_PATHS = frozenset({"/health", "/openapi.json", "/docs"})
"""What anybody may see: it tells nothing of this machine but that it is there, and its version."""

CLIENT_LEFT = 499
"""The status in the log where the client did not wait for one; nobody else ever sees it."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_REQUEST_ID_SIZE = 12
"""Random bytes of a request's number that the gateway makes."""


class Journal(Protocol):
    """Where answered requests are written down and counted."""

    def answered(
        self, scope: Scope, *, status: int, seconds: float, token: AccessToken | None, code: str | None
    ) -> None:
        """One request was answered."""

    def failed(self, request_id: str, error: BaseException) -> None:
        """A defect of the gateway's own."""


class Edge:
    """Wraps ``app``, with rules in this order.

    1. the request has a number (the client's ``X-Request-Id``, where that is sane);
    2. the Host header names this machine;
    3. preflights of browsers are answered;
    4. nobody who bears no good token asks too often, then: the token is known, and does not ask too often either;
    5. not too many requests are under way;
    6. the app answers; what it raises becomes a problem, and a defect of ours one that tells nothing;
    7. the request is written down.
    """

    def __init__(self, app: ASGIApp, tokens: TokenDesk, settings: Settings, journal: Journal) -> None:
        self._app = app
        self._tokens = tokens
        self._settings = settings
        self._journal = journal
        self._cors = Cors(settings.origins)
        self._token_rate = RateLimit(settings.token_rate)
        self._stranger_rate = RateLimit(settings.stranger_rate)
        self._memory = Memory()
        self._at_once = AtOnce(each=settings.token_requests_at_once, together=settings.requests_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            return
        start = time.monotonic()
        request_id = _request_id(scope)
        share = Share(self._memory)
        scope["state"] = {"request_id": request_id, "token": None, "code": None, "share": share}
        answer = _Answer(self._cors.sender(scope, send), request_id)
        try:
            await self._pass(scope, receive, answer, start)
        finally:
            share.give_back()
            state = scope["state"]
            seconds = time.monotonic() - start
            status = answer.status or CLIENT_LEFT
            self._journal.answered(scope, status=status, seconds=seconds, token=state["token"], code=state["code"])

    async def _pass(self, scope: Scope, receive: Receive, answer: "_Answer", now: float) -> None:
        try:
            check_host(scope["headers"], self._settings.hosts)
            if (preflight := self._cors.preflight(scope)) is not None:
                await preflight(scope, receive, answer)
            elif scope["path"] in OPEN_PATHS:
                with self._at_once.room_for(""):
                    await self._app(scope, receive, answer)
            else:
                token = scope["state"]["token"] = self._admit(scope, now)
                CALLER.set(f"token {token.name}")  # in the task that serves this request alone
                with self._at_once.room_for(token.name):
                    await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            said = refusal(scope, error)
            if scope["state"]["code"] == Code.INTERNAL:
                self._journal.failed(scope["state"]["request_id"], error)
            if not answer.started:
                await said(scope, receive, answer)
            elif not answer.complete:
                raise  # half an answer cannot be mended: the server closes the connection

    def _admit(self, scope: Scope, now: float) -> AccessToken:
        peer = scope["client"][0] if scope.get("client") else "local"
        try:
            token = self._tokens.admit(scope["headers"])
        except ProblemError:
            self._stranger_rate.check(peer, now, whose="a peer without a good token")
            raise
        self._token_rate.check(token.name, now, whose=f"token {token.name}")
        return token


class _Answer:
    """``send``, watched: whether it has begun, and with which status; each answer carries its request's number."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        self.status = 0
        self.started = False
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return str(given[0], "ascii")
    return secrets.token_hex(_REQUEST_ID_SIZE)
