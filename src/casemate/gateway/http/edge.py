"""The outermost middleware: each request passes its rules in one order before a route sees it."""

import asyncio
import re
import secrets
import time
from contextlib import nullcontext
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casemate.gateway.http.active_requests import ActiveRequest, EndReason
from casemate.gateway.http.bodies import BodyMemory, MemoryShare
from casemate.gateway.http.cors import Cors
from casemate.gateway.http.host_header import check_host
from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.gateway.http.rate_limits import AtOnce, RateLimit
from casemate.gateway.http.refusals import refusal
from casemate.gateway.http.settings import Settings
from casemate.gateway.http.tokens import TokenStore, ended
from casemate.gateway.http.waiting import network_of
from casemate.host.entry_queue import CALLER
from casemate.wire.protocol.access_tokens import AccessToken

OPEN_PATHS = frozenset({"/", "/health", "/openapi.json", "/docs"})
"""Paths without authentication: they reveal only that the machine runs, and its version."""

_LONG_PATHS = frozenset({"/openapi.json", "/docs"})
"""Those of them whose answers are too long to be sent at once to whoever does not read."""

_STRANGER = "a peer without a good token"

CLIENT_LEFT = 499
"""The status in the log where the client did not wait for one; nobody else ever sees it."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_REQUEST_ID_SIZE = 12
"""Random bytes of a request's number that the gateway makes."""


class RequestRecorder(Protocol):
    """The log and the counters of answered requests."""

    def answered(
        self, scope: Scope, *, status: int, seconds: float, token: AccessToken | None, code: str | None
    ) -> None: ...

    def limited(self, scope: Scope) -> None:
        """Counts a request that a limit refused."""

    def failed(self, request_id: str, error: BaseException) -> None:
        """Logs a defect of the gateway or of what lies behind it."""


class Edge:
    """Wraps ``app`` with these rules, in this order.

    1. the request has a number (the client's ``X-Request-Id``, where that is sane);
    2. the Host header names this machine;
    3. preflights of browsers are answered;
    4. nobody who bears no good token asks too often, then: the token is known, and does not ask too often either;
    5. not too many requests are under way;
    6. the app answers; what it raises becomes a problem, and a defect of ours one that tells nothing but has a trace in
       the log;
    7. the request is written down; one that was refused by rule 4 or 5 is counted and no more, or whoever asks too much
       could push all else out of the log.

    A token is looked at again before each piece of an answer that comes in pieces, and by :meth:`look_again`.
    """

    def __init__(self, app: ASGIApp, tokens: TokenStore, settings: Settings, journal: RequestRecorder) -> None:
        self._app = app
        self._tokens = tokens
        self._settings = settings
        self._journal = journal
        self._cors = Cors(settings.origins)
        self._token_rate = RateLimit(settings.token_rate)
        self._stranger_rate = RateLimit(settings.stranger_rate)
        self._open_rate = RateLimit(settings.open_rate)
        self._memory = BodyMemory()
        self._at_once = AtOnce(each=settings.token_requests_at_once, together=settings.requests_at_once)
        self._long_at_once = AtOnce(each=settings.long_at_once, together=4 * settings.long_at_once)
        self._visits: set[ActiveRequest] = set()

    def look_again(self) -> None:
        """Ends requests that wait on behalf of a token which was taken away or has lost rights."""
        for visit in [visit for visit in self._visits if visit.may_end and visit.token is not None]:
            if visit.token is not None and not self._tokens.holds(visit.token):
                visit.end(EndReason.TOKEN_ENDED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            return
        start = time.monotonic()
        request_id = _request_id(scope)
        share = MemoryShare(self._memory)
        visit = ActiveRequest(is_head=scope["method"] == "HEAD")
        refused = scope.get("state", {}).get("refused", 0)
        state = scope["state"] = {
            "request_id": request_id,
            "token": None,
            "code": None,
            "share": share,
            "visit": visit,
            "refused": refused,
        }
        answer = _Answer(self._cors.sender(scope, send), request_id, visit, self._tokens)
        self._visits.add(visit)
        try:
            if not refused:
                await self._pass(scope, receive, answer, start)
        finally:
            self._visits.discard(visit)
            visit.over()
            share.give_back()
            seconds = time.monotonic() - start
            status = answer.status or state["refused"] or CLIENT_LEFT
            if (error := state.get("error")) is not None:
                self._journal.failed(request_id, error)
            if state["code"] == Trouble.RATE_LIMITED:
                self._journal.limited(scope)
            else:
                self._journal.answered(scope, status=status, seconds=seconds, token=visit.token, code=state["code"])

    async def _pass(self, scope: Scope, receive: Receive, answer: "_Answer", now: float) -> None:
        visit = scope["state"]["visit"]
        try:
            if (preflight := self._meant_for_us(scope, now)) is not None:
                await preflight(scope, receive, answer)
            elif scope["path"] in OPEN_PATHS:
                self._let_in(scope, now)
                is_long = scope["path"] in _LONG_PATHS
                with self._long_at_once.room_for(_peer(scope), _STRANGER) if is_long else nullcontext():
                    await self._ask(scope, receive, answer)
            else:
                token = visit.token = scope["state"]["token"] = self._admit(scope, now)
                CALLER.set(token.digest.hex())  # in the task that serves this request alone
                with self._at_once.room_for(token.digest, f"token {token.name}"):
                    await self._ask(scope, receive, answer)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            if visit.ending is None:
                raise  # the server's end
            visit.forgive()
            await self._end(visit, scope, receive, answer)
        except Exception as error:
            await self._refuse(error, scope, receive, answer)

    def _meant_for_us(self, scope: Scope, now: float) -> Response | None:
        """The answer to a browser's preflight; None for other requests that name this machine."""
        try:
            check_host(scope["headers"], self._settings.hosts)
            preflight = self._cors.preflight(scope)
        except ProblemError:
            self._stranger_rate.check(_peer(scope), now, whose=_STRANGER)
            raise
        if preflight is not None:
            self._stranger_rate.check(_peer(scope), now, whose=_STRANGER)
        return preflight

    async def _ask(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Asks the app. A HEAD is asked as a GET, whose body is not sent (RFC 9110, section 9.3.2)."""
        if not answer.is_head:
            return await self._app(scope, receive, answer)
        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, answer)
        finally:
            scope["route"] = asked.get("route")

    async def _end(self, visit: ActiveRequest, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Completes the answer to a request that was ended early, if its client still listens."""
        if visit.ending is not EndReason.TOKEN_ENDED:
            return
        if answer.started:
            await answer.finish()
        else:
            await self._refuse(ended(), scope, receive, answer)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        said = refusal(scope, error)
        if not answer.started:
            await said(scope, receive, answer)
        elif not answer.complete:
            raise error  # half an answer cannot be mended: the server closes the connection

    def _let_in(self, scope: Scope, now: float) -> None:
        """Counts a request that needs no token: for its token if it bears a good one, else for its peer."""
        try:
            token = self._tokens.admit(scope["headers"])
            self._token_rate.check(token.digest, now, whose=f"token {token.name}")
        except ProblemError:
            self._open_rate.check((_peer(scope), scope["path"]), now, whose=_STRANGER)

    def _admit(self, scope: Scope, now: float) -> AccessToken:
        try:
            token = self._tokens.admit(scope["headers"])
        except ProblemError:
            self._stranger_rate.check(_peer(scope), now, whose=_STRANGER)
            raise
        self._token_rate.check(token.digest, now, whose=f"token {token.name}")
        return token


class _Answer:
    """Wraps ``send``: notes status and progress, and adds the request's number to the answer.

    Of the answer to a HEAD it sends no body. Before each piece but the last it looks whether the token is still good.
    """

    def __init__(self, send: Send, request_id: str, visit: ActiveRequest, tokens: TokenStore) -> None:
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        self._visit = visit
        self._tokens = tokens
        self.is_head = visit.is_head
        self.status = 0
        self.started = False
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        elif message.get("more_body", False):
            if not self._goes_on():
                return
        else:
            self.complete = True
        if self.is_head and message.get("body"):
            message["body"] = b""
        await self._send(message)

    async def finish(self) -> None:
        """Ends an answer that comes in pieces after the last piece that was sent."""
        if not self.complete:
            self.complete = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _goes_on(self) -> bool:
        visit = self._visit
        if visit.ending is not None:
            return False
        visit.waits(may_end=True)
        if visit.token is not None and not self._tokens.holds(visit.token):
            visit.end(EndReason.TOKEN_ENDED)
        return visit.ending is None


def _peer(scope: Scope) -> str:
    """The key under which a client without a token is counted."""
    return network_of(scope["client"][0]) if scope.get("client") else "local"


def _request_id(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return str(given[0], "ascii")
    return secrets.token_hex(_REQUEST_ID_SIZE)
