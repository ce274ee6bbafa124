"""What an enclave that is a service does between calls: its hooks, and its configuration.

| hook | runs | for |
| --- | --- | --- |
| ``initialize`` | in every new guest, before its first call; it may ask for nothing | 2 s |
| ``start`` | once a launch, before the first call; where there is a configuration, when the first is there | 30 s |
| ``reconfigure`` | with each further configuration, in the transaction that keeps it | 30 s |
| ``health`` | whenever the host asks | 5 s |
| ``shutdown`` | when the host is about to stop the enclave | 5 s |

All but the first run in a guest of their own, one at a time, and are called as ``hook(configuration, context)``. The
host decides when it asks, or whether; that no call is served before ``start`` is the enclave's own doing.
"""

import time
from collections.abc import Mapping
from typing import Final

from casemate.enclave.boot import Program
from casemate.enclave.entry.peers import Peers
from casemate.enclave.entry.turns import Turns
from casemate.enclave.guest.call_services import CallServices, Services, course_of_client
from casemate.enclave.guest.guest import CAUSE_TIME, LOAD_TIME, Guest
from casemate.enclave.keys import check_signature
from casemate.engines.frames import Asked, Refused, Wanted
from casemate.images.errors import SchemaMismatchError, mismatch_words
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.messages.service_life import MAX_REASON, Health, HealthIs
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.configuration import (
    MAX_CONFIGURATION,
    MAX_VERSION,
    SignedConfiguration,
    signed_configuration,
)
from casemate.wire.protocol.deployment import NO_DEPLOYMENT, deployment_id
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault, refuse

INITIALIZE_TIME = 2.0
HOOK_TIME: Final[Mapping[Hook, float]] = {
    Hook.START: 30.0,
    Hook.RECONFIGURE: 30.0,
    Hook.HEALTH: 5.0,
    Hook.SHUTDOWN: 5.0,
}
"""Longest run of each hook (seconds)."""
START_AGAIN = 5.0
"""Seconds after which a start that has failed is tried again, by the next call."""
MAX_HEALTH = 4096
"""Longest result of ``health`` (bytes of JSON)."""

UNCONFIGURED = (
    "this service has no configuration yet: its owner gives it one with"
    " `casemate service configure NAME config.json --owner KEY --version 1`"
)
ASKS_NOTHING = "initialize may ask the enclave nothing: do it in start, or in the operation"

_KEPT = "configuration"
"""The name in the enclave's own part of the state."""
_MAX_KEPT = MAX_CONFIGURATION + 1024
_HEALTHY: Final = (Health.READY, Health.DEGRADED, Health.BROKEN)
_HOOKS = "hooks"
"""The party of all hooks' calls."""


class ServiceLife:
    """Runs the hooks, and keeps the configuration. Of an image that is no service it is always ready.

    Args:
        program: the enclave's.
        peers: give guests.
        services: of all calls.
    """

    def __init__(self, program: Program, peers: Peers, services: Services) -> None:
        rules = program.image.manifest.service
        self.hooks = frozenset[Hook]() if rules is None else rules.hooks
        self._is_configurable = rules is not None and rules.configuration is not None
        self._program = program
        self._peers = peers
        self._services = services
        self._version = 0
        self._text: bytes | None = None
        """The configuration's; None where there is none."""
        self._is_up = not self._is_configurable and Hook.START not in self.hooks
        self._failure: Fault | None = None
        """Why it could not start."""
        self._again_at = 0.0
        self._one = Turns(1, "hooks")
        if Hook.INITIALIZE in self.hooks:
            peers.guests.initialize = self._initialize

    def about(self) -> dict[str, Json]:
        """What ``context`` tells of the configuration."""
        return {} if self._text is None else {"config": self._text.decode()}

    async def ready(self) -> None:
        """Waits until calls can be served.

        Raises:
            FaultError: ``wrong-state``: it has no configuration; or what the hook ``start`` has failed with.
        """
        if self._is_up:
            return
        await self._one.take(_HOOKS)
        try:
            await self._come_up()
        finally:
            self._one.give_back()

    async def run(self, hook: Hook) -> HealthIs:
        """Runs a hook for the host, and says how the service is.

        Raises:
            FaultError: ``malformed``: it is none of the host's; ``busy``: another hook runs.
        """
        if hook not in (Hook.START, Hook.HEALTH, Hook.SHUTDOWN):
            raise refuse(Code.MALFORMED, f"the hook {hook} is not the host's to run, want start, health or shutdown")
        if hook is Hook.SHUTDOWN and not self._is_up:
            return HealthIs(Health.READY, "")
        try:
            await self.ready()
        except FaultError as error:
            if error.fault.code is Code.BUSY:
                raise
            state = Health.UNCONFIGURED if self._lacks_configuration else Health.BROKEN
            return HealthIs(state, error.fault.reason[:MAX_REASON])
        if hook is Hook.START or hook not in self.hooks:
            return HealthIs(Health.READY, "")
        await self._one.take(_HOOKS)
        try:
            said = await self._run(hook, self._calling())
        except FaultError as error:
            return HealthIs(Health.BROKEN, error.fault.reason[:MAX_REASON])
        finally:
            self._one.give_back()
        return _health(said) if hook is Hook.HEALTH else HealthIs(Health.READY, "")

    async def configure(self, signed: SignedConfiguration) -> int:
        """Takes a configuration from the deployment's owner; its version, once it is durable.

        A version never falls. The newest is taken again if it says the same. What the hook changes in the state is kept
        together with the configuration, or neither is.

        Raises:
            FaultError: ``wrong-state``: nothing can be configured here, or the version is not above;
                ``caller-refused``: it is of another deployment, or not its owner's;
                ``arguments-refused``: it is not as its schema says; or what the hook has failed with.
        """
        text = self._checked(signed)
        await self._one.take(_HOOKS)
        try:
            await self._configure(signed.version, text)
        finally:
            self._one.give_back()
        return signed.version

    # --- the configuration ------------------------------------------------------------------------------------------

    @property
    def _lacks_configuration(self) -> bool:
        return self._is_configurable and self._text is None

    def _checked(self, signed: SignedConfiguration) -> bytes:
        """The configuration's text, written anew from the value that was checked."""
        schema = self._program.image.schemas.configuration
        deployment = self._program.identity.deployment
        if schema is None:
            raise refuse(Code.WRONG_STATE, "this image has no [service] with a configuration")
        if deployment == NO_DEPLOYMENT:
            raise refuse(Code.WRONG_STATE, "this deployment has no owner: launch it with `--owner KEY`")
        if deployment_id(signed.owner_key, signed.name) != deployment:
            raise refuse(Code.CALLER_REFUSED, "the configuration is of another deployment, or another owner")
        if signed.version > MAX_VERSION:
            raise refuse(Code.MALFORMED, f"the configuration has version {signed.version}, want at most {MAX_VERSION}")
        signing = signed_configuration(deployment, signed.version, signed.text)
        check_signature(signed.owner_key, signed.signature, signing)
        try:
            value = parse_json("configuration", signed.text, limit=MAX_CONFIGURATION)
            schema.check(value)
        except (WireError, SchemaMismatchError) as error:
            raise refuse(Code.ARGUMENTS_REFUSED, mismatch_words(error, explain=True)) from None
        return encode_json(value)

    async def _configure(self, version: int, text: bytes) -> None:
        hook = Hook.RECONFIGURE if self._is_up else Hook.START
        call = self._calling()
        until = time.monotonic() + HOOK_TIME[Hook.START]
        transaction = await call.transaction(until)
        kept = transaction.get_own(_KEPT)
        if kept is not None:
            newest, known = _read(kept)
            if version < newest:
                raise refuse(Code.WRONG_STATE, f"the configuration has version {version}, want above {newest}")
            if version == newest and text != known:
                raise refuse(
                    Code.WRONG_STATE, f"version {newest} of the configuration says something else: sign {newest + 1}"
                )
            if version == newest and text == self._text and self._is_up:
                return
        transaction.put_own(
            _KEPT, encode_json({"configuration": parse_json(_KEPT, text, limit=_MAX_KEPT), "version": version})
        )
        before = self._version, self._text
        self._version, self._text = version, text
        try:
            if hook in self.hooks:
                await self._run(hook, call)
            else:
                await call.conclude(b"null", until)
        except BaseException:
            self._version, self._text = before
            raise
        self._is_up, self._failure = True, None
        self._peers.guests.renew()

    async def _recall(self) -> None:
        """Takes the configuration that the state has."""
        until = time.monotonic() + HOOK_TIME[Hook.START]
        kept = (await self._calling().transaction(until)).get_own(_KEPT)
        if kept is None:
            raise refuse(Code.WRONG_STATE, UNCONFIGURED)
        self._version, self._text = _read(kept)

    # --- hooks ------------------------------------------------------------------------------------------------------

    async def _come_up(self) -> None:
        """Starts the service, unless it has started; to be called by one at a time."""
        if self._is_up:
            return
        if self._failure is not None and time.monotonic() < self._again_at:
            raise FaultError(self._failure)
        if self._lacks_configuration:
            await self._recall()
        if Hook.START in self.hooks:
            try:
                await self._run(Hook.START, self._calling())
            except FaultError as error:
                self._failure, self._again_at = error.fault, time.monotonic() + START_AGAIN
                raise
        self._is_up, self._failure = True, None

    def _calling(self) -> CallServices:
        return CallServices(self._services, None, course_of_client(), _HOOKS)

    async def _run(self, hook: Hook, call: CallServices) -> bytes:
        """What a hook returns (JSON, unchecked), once what it has changed is durable.

        Raises:
            FaultError: it has failed.
        """
        await self._services.monitor.admit()
        guest = self._peers.maker.make()
        try:
            if not await guest.settled(time.monotonic() + LOAD_TIME + CAUSE_TIME):
                raise refuse(Code.TIME_LIMIT, f"the guest was still {guest.state} when time was up")
            if guest.is_gone:
                raise FaultError(guest.failure)
            if Hook.INITIALIZE in self.hooks:
                await self._initialize(guest, time.monotonic() + INITIALIZE_TIME)
            limit = HOOK_TIME[hook]
            until = time.monotonic() + limit
            with call.working(guest):
                said = await guest.call(
                    hook,
                    self._text or b"null",
                    None,
                    ask=lambda asked: call.answer(asked, until),
                    deadline=until,
                    about=call.course.about(limit) | self.about(),
                )
            if isinstance(said, Refused):
                raise refuse(Code.GUEST_ERROR, "it refuses")
            await call.conclude(said, until)
        except FaultError as error:
            raise _hook_failed(hook, error.fault) from None
        finally:
            guest.end()
        return said

    async def _initialize(self, guest: Guest, deadline: float) -> None:
        """Runs ``initialize`` in a new guest, which is ended if that fails."""
        try:
            until = min(deadline, time.monotonic() + INITIALIZE_TIME)
            text = self._text or b"null"
            said = await guest.call(Hook.INITIALIZE, text, None, ask=_refuse_all, deadline=until, about=self.about())
            if isinstance(said, Refused):
                raise refuse(Code.GUEST_ERROR, "it refuses")
        except FaultError as error:
            guest.end()
            raise _hook_failed(Hook.INITIALIZE, error.fault) from None


async def _refuse_all(_asked: Asked | Wanted) -> bytes:
    raise refuse(Code.GUEST_ERROR, ASKS_NOTHING)


def _hook_failed(hook: Hook, why: Fault) -> FaultError:
    if why.reason.startswith("the service's hook"):
        return FaultError(why)
    return FaultError(fault(why.code, f"the service's hook {hook} has failed: {why.reason}"))


def _read(kept: bytes) -> tuple[int, bytes]:
    """Version and text of the configuration that the state has."""
    try:
        body = parse_object(_KEPT, kept, limit=_MAX_KEPT)
        return body.uint("version", MAX_VERSION), encode_json(body.value("configuration"))
    except WireError:
        raise refuse(Code.STATE_REFUSED, "the state's record of the configuration is none") from None


def _health(said: bytes) -> HealthIs:
    """What ``health`` says, as far as it may leave the enclave: one of three words, and a line."""
    try:
        body = parse_object("health", said, limit=MAX_HEALTH)
        body.only("status", "reason")
        status, reason = body.text("status"), body.text("reason") if body.has("reason") else ""
    except WireError as error:
        return HealthIs(Health.BROKEN, f"its hook health says no health: {error}"[:MAX_REASON])
    if status not in tuple(_HEALTHY) or len(reason) > MAX_REASON or not reason.isprintable():
        want = f"a status out of {', '.join(_HEALTHY)}, and a reason of one line, {MAX_REASON} characters at most"
        return HealthIs(Health.BROKEN, f"its hook health says no health: want {want}")
    return HealthIs(Health(status), reason)
