"""`/v1/functions`: the names of functions, and the switch from one enclave to another."""

from fastapi import APIRouter

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import FunctionDocument, FunctionsDocument, SwitchDocument
from casemate.gateway.v1.enclaves import shown
from casemate.gateway.v1.verb_routes import Documents, Written, add_verbs
from casemate.wire.messages.functions import FunctionIs, FunctionsAre, SwitchFunction
from casemate.wire.messages.verbs import FUNCTION_VERBS


def function_routes(host: HostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["functions"])
    add_verbs(routes, FUNCTION_VERBS, host, _DOCUMENTS, {})
    return routes


def _function(found: FunctionIs) -> FunctionDocument:
    return FunctionDocument(
        name=found.name,
        current=shown(found.current),
        previous=None if found.previous is None else shown(found.previous),
        deployed=found.deployed,
    )


def _functions(found: FunctionsAre) -> FunctionsDocument:
    return FunctionsDocument(functions=[_function(each) for each in found.functions])


_DOCUMENTS = Documents(
    {FunctionIs: Written(FunctionDocument, _function), FunctionsAre: Written(FunctionsDocument, _functions)},
    bodies={SwitchFunction: SwitchDocument},
)
