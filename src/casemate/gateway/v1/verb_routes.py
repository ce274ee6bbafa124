"""Adds routes from the table of verbs. Plain endpoints are derived from the entries, the others written by hand.

Role, path, refusals and the operation's id always come from the entry, so a route cannot differ from what the client
sends.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from casemate.gateway.http.bodies import BINARY, JSON, read_body
from casemate.gateway.http.openapi import Bytes, binary, json_body, operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.v1.documents import Document
from casemate.gateway.v1.parameters import EnclaveId, FunctionName, VmId
from casemate.wire.messages.request import Request, answer_type
from casemate.wire.messages.verbs import REQUIRED, Route, Verb, field_value, id_field, path_parameter
from casemate.wire.messages.vm.hypervisor import Done
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

A = TypeVar("A")

_ROLES = {
    Role.CALL: "Needs a token of any role.",
    Role.DEPLOY: "Needs a token of role `deploy` or above.",
    Role.ADMIN: "Needs a token of role `admin`.",
}
_PLACES = {"enclave": EnclaveId, "vm": VmId, "name": FunctionName}
"""The type of the parameter in a path, by the request's field."""


class Answers(Protocol):
    """An object that answers requests: the host's enclaves, or its VMs."""

    async def answer(self, request: Request[A]) -> A: ...


@dataclass(frozen=True, slots=True)
class ByHand:
    """An endpoint written by hand, and what its OpenAPI operation has beside the table's entry."""

    endpoint: Callable[..., Awaitable[Any]]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of FastAPI's ``add_api_route``."""
    refusals: tuple[Any, ...] = ()
    body: str | None = None
    """Description of the binary body, if the endpoint reads one by itself."""
    responses: Mapping[int | str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as a JSON document."""

    document: type[Document]
    write: Callable[[Any], Document]


@dataclass(frozen=True, slots=True)
class Documents:
    """The JSON documents of one kind of resource."""

    answers: Mapping[type, Written]
    """Encoders by the answer's class. An answer of any other class has bytes, its ``content``, which are sent
    unchanged."""
    bodies: Mapping[type, type[Document]] = field(default_factory=dict)
    """Documents of requests with a JSON body, by the request's class."""
    query: Mapping[str, Any] = field(default_factory=dict)
    """Types of query parameters for FastAPI, by name."""
    after: Callable[[Any], Request[Any]] | None = None
    """Makes the request that follows an answer ``Done``, so that the client is shown the changed resource."""

    def written(self, request: type[Request[Any]]) -> Written | None:
        """The encoder of the answer to such requests; None if the answer is bytes."""
        return self.answers.get(answer_type(request))

    async def response(self, host: Answers, request: Request[Any]) -> Response:
        """Asks the host and encodes its answer."""
        written = self.written(type(request))
        answer = await host.answer(request)
        if written is None:
            return Bytes(answer.content)
        if self.after is not None and isinstance(answer, Done):
            answer = await host.answer(self.after(request))
        return Response(written.write(answer).model_dump_json(), media_type=JSON)


def add_verbs(
    routes: APIRouter,
    verbs: Iterable[Verb],
    host: Answers,
    documents: Documents,
    by_hand: Mapping[type[Request[Any]], ByHand],
) -> None:
    """Adds a route for each verb of the table that has one, in the table's order.

    Raises:
        TypeError: a verb is in ``by_hand`` without a reason in the table, or has a reason and is missing there.
    """
    for verb in verbs:
        route = verb.route
        if route is None:
            continue
        if bool(route.by_hand) != (verb.request in by_hand):
            raise TypeError(f"{verb.request.__name__} is to be written by hand, or not: table and routes differ")
        if route.by_hand:
            _add_by_hand(routes, route, by_hand[verb.request])
        else:
            _add_plain(routes, verb, route, host, documents)


def _add_by_hand(routes: APIRouter, route: Route, found: ByHand) -> None:
    says = operation(route.operation, route.role, *_refusals(route), *found.refusals, body=found.body)
    says["responses"] |= found.responses
    routes.add_api_route(
        route.path, found.endpoint, methods=[route.method], name=route.title, **(says | dict(found.keywords))
    )


def _add_plain(routes: APIRouter, verb: Verb, route: Route, host: Answers, documents: Documents) -> None:
    written = documents.written(verb.request)
    raw_about = None if route.raw is None else route.raw.about
    says = operation(
        route.operation, route.role, *_refusals(route), *(json_body() if route.json else ()), body=raw_about
    )
    if written is None:
        says["responses"] |= binary(200, "The bytes.")
    says |= {"response_class": Bytes} if written is None else {"response_model": written.document}
    separator = "\n" if "\n" in route.about else " "
    routes.add_api_route(
        route.path,
        _endpoint(verb, route, host, documents),
        methods=[route.method],
        name=route.title,
        description=f"{route.about}{separator}{_ROLES[route.role]}",
        **says,
    )


def _refusals(route: Route) -> tuple[Code | Trouble, ...]:
    has_parameters = path_parameter(route) is not None or route.query
    return (*route.refusals, Trouble.REQUEST_REFUSED) if has_parameters else route.refusals


def _endpoint(verb: Verb, route: Route, host: Answers, documents: Documents) -> Callable[..., Awaitable[Response]]:
    """The endpoint that FastAPI calls with the parameters that :func:`_signature` declares."""
    place = path_parameter(route)

    async def answer(**given: Any) -> Response:
        values = {each.field: field_value(each.field, given[each.name]) for each in route.query}
        values |= {name: field_value(name, getattr(given["wanted"], name)) for name in route.json}
        if place is not None:
            values[id_field(verb.request)] = given[place]
        if route.raw is not None:
            values[route.raw.field] = await read_body(given["request"], media_type=BINARY, limit=route.raw.limit)
        return await documents.response(host, verb.request(**values))

    answer.__signature__ = _signature(verb, route, documents)  # type: ignore[attr-defined] # what FastAPI reads
    return answer


def _signature(verb: Verb, route: Route, documents: Documents) -> inspect.Signature:
    def parameter(name: str, annotation: Any, default: Any = REQUIRED) -> inspect.Parameter:
        found = inspect.Parameter.empty if default is REQUIRED else default
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=found)

    parameters = []
    place = path_parameter(route)
    if place is not None:
        parameters.append(parameter(place, _PLACES[id_field(verb.request)]))
    parameters += [parameter(each.name, documents.query[each.name], each.default) for each in route.query]
    if route.json:
        parameters.append(parameter("wanted", documents.bodies[verb.request]))
    if route.raw is not None:
        parameters.append(parameter("request", HttpRequest))
    return inspect.Signature(parameters)
