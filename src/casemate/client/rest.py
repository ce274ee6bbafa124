"""The gateway's REST API: how each request to a host becomes HTTP requests, and what their answers mean.

Most of it is in the table of verbs (:mod:`casemate.wire.messages.verbs`), for both clients; what is the same for all
requests is in :mod:`casemate.client.http_exchange`.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar, cast

from casemate.client.http_exchange import (
    BINARY,
    Exchange,
    HttpRequest,
    asked_for,
    good,
    object_of,
    sent,
    sent_to,
)
from casemate.client.transport import GetMachine, MachineDescription
from casemate.client.vm.rest import VM_ANSWERS, VM_ROUTES, VMS_BY_HAND
from casemate.wire.encodings.fields import MAX_U16
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.json_text import MAX_INTEGER, encode_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import WireError
from casemate.wire.messages import functions, host, machine_log, services
from casemate.wire.messages.request import Request, answer_type
from casemate.wire.messages.verbs import ENCLAVE_VERBS, json_members, routes_of
from casemate.wire.protocol.call import MAX_SEALED
from casemate.wire.protocol.capabilities.service import Family, Kind
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.runtime_lock import RuntimePart
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE, Tee

MAX_EVIDENCE = 2 * 1024 * 1024
"""Longest evidence (bytes): a quote, and collateral of up to 1 MiB."""

_MAX_ENCLAVES = 65_536
_NOT_FOUND = 404
A = TypeVar("A")
W = TypeVar("W", bound=StrEnum)

ROUTES = {**routes_of(ENCLAVE_VERBS), **VM_ROUTES}


def exchanges(request: Request[A], remaining: Callable[[], float]) -> Exchange[A]:
    """All HTTP that one request to a host takes.

    Args:
        request: what is asked.
        remaining: seconds that are left for it.

    Raises:
        FaultError: the host refuses.
        GatewayRefusedError: the gateway does, for a reason of its own.
        WireError: an answer is malformed, too long, of another type, or a redirect.
        CasemateError: what was thrown in, where there is nothing safe to do about it.
    """
    by_hand = BY_HAND.get(type(request))
    answer = yield from _plain(request, remaining) if by_hand is None else by_hand(request, remaining)
    return cast("A", answer)


def _plain(request: Request[A], remaining: Callable[[], float]) -> Exchange[object]:
    """The exchange for a verb whose route the table describes completely."""
    route = ROUTES[type(request)]
    if route.raw is not None:
        asked = sent_to(route, request, body=getattr(request, route.raw.field), body_type=BINARY)
    elif route.json:
        asked = sent_to(route, request, body=encode_json(json_members(route, request)))
    else:
        asked = sent_to(route, request)
    body = object_of(route.operation, (yield from asked_for(asked, remaining)))
    return ANSWERS[answer_type(type(request))](body)


def _launch(question: host.Launch, remaining: Callable[[], float]) -> Exchange[host.Launched]:
    """Puts the image, unless the gateway has it, and launches it once, however often that is sent."""
    digest = hashlib.sha256(question.sgxs)
    digest.update(question.sigstruct)
    image = digest.hexdigest()
    asked = HttpRequest("GET", f"/v1/images/{image}", is_repeatable=True)
    known = yield from sent(asked, remaining)
    if known.status == _NOT_FOUND:
        body = encode_message(host.PutImage(question.name, question.sgxs, question.sigstruct))
        put = HttpRequest("POST", "/v1/images", body=body, body_type=BINARY, is_repeatable=True)
        kept = object_of("image", (yield from asked_for(put, remaining)))
        if kept.text("image") != image:
            raise WireError("image", got="another image's name", want=image)
        del body, put  # as long as the image itself
    else:
        good(asked, known)
    members: dict[str, Any] = {"image": image, "name": question.name, "tee": str(question.tee)}
    if question.candidate:  # older gateways lack it, as they do owners
        members["candidate"] = True
    if question.owner is not None:
        members["owner"] = question.owner.hex()
    wanted = encode_json(members)
    made = replace(
        sent_to(ROUTES[host.Launch], question, body=wanted),
        idempotency_key=secrets.token_hex(16),
        is_repeatable=True,
    )
    shown = _enclave(object_of("enclave", (yield from asked_for(made, remaining))))
    return host.Launched(shown.enclave, shown.mr_enclave)


def _evidence(question: host.GetEvidence, remaining: Callable[[], float]) -> Exchange[host.EvidenceIs]:
    request = sent_to(ROUTES[host.GetEvidence], question, accept=BINARY, limit=MAX_EVIDENCE)
    answer = yield from asked_for(request, remaining)
    return parse_message(answer.body, host.EvidenceIs)


def _call(question: host.Call, remaining: Callable[[], float]) -> Exchange[host.Answer]:
    body = encode_message(question.envelope)
    request = sent_to(ROUTES[host.Call], question, accept=BINARY, body=body, body_type=BINARY, limit=MAX_SEALED)
    answer = yield from asked_for(request, remaining)
    return host.Answer(answer.body)


def _machine(_question: GetMachine, remaining: Callable[[], float]) -> Exchange[MachineDescription]:
    request = HttpRequest("GET", "/v1/machine", is_repeatable=True)
    body = object_of("machine", (yield from asked_for(request, remaining)))
    chain = parse_chain("machine.root_certificate", body.text("root_certificate").encode())
    if len(chain) != 1:
        raise WireError("machine.root_certificate", got=f"{len(chain)} certificates", want="the root's alone")
    parts = body.child("runtime")
    return MachineDescription(
        platform=body.text("platform"),
        runtime=tuple(RuntimePart(name, parts.hexadecimal(name, 32)) for name in parts.names()),
        seeded=body.flag("seeded"),
        root_certificate=chain[0].der,
        version=body.text("version"),
    )


def _enclave(body: JsonObject) -> host.EnclaveIs:
    """One enclave; members that this version does not know are a later gateway's."""
    try:
        state, tee = State(body.text("state")), Tee(body.text("tee"))
    except ValueError:
        want = f"{' or '.join(State)}; {' or '.join(Tee)}"
        raise WireError("enclave.state, enclave.tee", got="another word", want=want) from None
    return host.EnclaveIs(
        enclave=body.uint("id", MAX_INTEGER),
        name=body.text("name"),
        mr_enclave=body.hexadecimal("mr_enclave", 32),
        mr_signer=body.hexadecimal("mr_signer", 32),
        isv_prod_id=body.uint("isv_prod_id", MAX_U16),
        isv_svn=body.uint("isv_svn", MAX_U16),
        debug=body.flag("debug"),
        state=state,
        reason=body.text("reason"),
        image=body.hexadecimal("image", 32),
        ra_tls_port=body.uint("ra_tls_port", MAX_U16) if body.has("ra_tls_port") else None,
        tee=tee,
        launch_digest=body.hexadecimal("launch_digest", LAUNCH_DIGEST_SIZE) if body.has("launch_digest") else None,
        owner=body.hexadecimal("owner", 32) if body.has("owner") else None,
    )


def _enclaves(body: JsonObject) -> host.EnclavesAre:
    return host.EnclavesAre(tuple(_enclave(each) for each in body.children("enclaves", limit=_MAX_ENCLAVES)))


def _function(body: JsonObject) -> functions.FunctionIs:
    return functions.FunctionIs(
        name=body.text("name"),
        current=_enclave(body.child("current")),
        previous=_enclave(body.child("previous")) if body.has("previous") else None,
        deployed=body.flag("deployed"),
    )


def _functions(body: JsonObject) -> functions.FunctionsAre:
    found = body.children("functions", limit=_MAX_ENCLAVES)
    return functions.FunctionsAre(tuple(_function(each) for each in found))


def _service(body: JsonObject) -> services.ServiceIs:
    """One service; members that this version does not know are a later gateway's."""
    found = body.children("operations", limit=services.MAX_OPERATIONS)
    return services.ServiceIs(
        name=body.text("name"),
        version=body.text("version"),
        family=_word(body, "family", Family),
        description=body.text("description"),
        image=body.hexadecimal("image", 32),
        mr_enclave=body.hexadecimal("mr_enclave", 32),
        mr_signer=body.hexadecimal("mr_signer", 32),
        operations=tuple(_operation(each) for each in found),
        uses=body.texts("uses", limit=services.MAX_USED),
        source=body.text("source"),
        enclave=body.uint("enclave", MAX_INTEGER) if body.has("enclave") else 0,
        state=_word(body, "state", services.ServiceState),
        reason=body.text("reason"),
    )


def _operation(body: JsonObject) -> services.OperationIs:
    given, gives = (encode_json(body.value(name)) if body.has(name) else b"" for name in ("input", "output"))
    return services.OperationIs(
        name=body.text("name"),
        kind=_word(body, "kind", Kind),
        idempotent=body.flag("idempotent"),
        plain=body.flag("plain"),
        stream=body.flag("stream"),
        input=given,
        output=gives,
    )


def _services(body: JsonObject) -> services.ServicesAre:
    found = body.children("services", limit=services.MAX_SERVICES)
    return services.ServicesAre(tuple(_service(each) for each in found))


def _word(body: JsonObject, name: str, words: type[W]) -> W:
    try:
        return words(body.text(name))
    except ValueError:
        raise WireError(f"service.{name}", got="another word", want=" or ".join(words)) from None


def _log(body: JsonObject) -> machine_log.LogIs:
    entries = tuple(_log_entry(each) for each in body.children("entries", limit=machine_log.MAX_ENTRIES))
    return machine_log.LogIs(body.uint("host", MAX_INTEGER), entries)


def _log_entry(body: JsonObject) -> machine_log.LogEntry:
    try:
        source = machine_log.LogSource(body.text("source"))
    except ValueError:
        raise WireError("entry.source", got="another word", want=" or ".join(machine_log.LogSource)) from None
    number, at, enclave = (body.uint(name, MAX_INTEGER) for name in ("number", "at", "enclave"))
    return machine_log.LogEntry(number, at, source, enclave, body.text("text"))


BY_HAND: dict[type, Callable[[Any, Callable[[], float]], Exchange[object]]] = {
    host.Launch: _launch,
    host.GetEvidence: _evidence,
    host.Call: _call,
    GetMachine: _machine,
    **VMS_BY_HAND,
}
"""Requests whose HTTP is more, or other, than the table of verbs says."""

ANSWERS: dict[type, Callable[[JsonObject], object]] = {
    host.EnclaveIs: _enclave,
    host.EnclavesAre: _enclaves,
    functions.FunctionIs: _function,
    functions.FunctionsAre: _functions,
    services.ServiceIs: _service,
    services.ServicesAre: _services,
    machine_log.LogIs: _log,
    **VM_ANSWERS,
}
"""How the gateway's JSON is read, by the class of the host's answer."""
