"""Routes and the table of verbs agree, and the OpenAPI document says what the table says."""

import re
from typing import Any

import pytest
from fastapi import APIRouter
from tests.rigs.gateway.front import Front

from casemate.gateway.docs.routes import document
from casemate.gateway.v1.verb_routes import Documents, add_verbs
from casemate.wire.messages.verbs import ENCLAVE_VERBS, Route, path_parameter
from casemate.wire.messages.vm.verbs import VM_VERBS
from casemate.wire.protocol.access_tokens import Role

ROUTES = [verb.route for verb in (*ENCLAVE_VERBS, *VM_VERBS) if verb.route is not None]


@pytest.fixture
def openapi(gateway: Front) -> dict[str, Any]:
    return document(gateway.gateway.app)


def test_every_verb_is_one_operation_of_the_document(openapi: dict[str, Any]) -> None:
    for route in ROUTES:
        found = openapi["paths"][route.path][route.method.lower()]
        assert found["operationId"] == route.operation
        assert found["security"] == [{"token": [route.role.value]}]
        named = {name for response in found["responses"].values() for name in re.findall(r"`([^`]+)`", str(response))}
        assert named >= {code.value for code in route.refusals}


def test_a_plain_operation_declares_the_parameters_and_the_body_of_its_entry(openapi: dict[str, Any]) -> None:
    for route in ROUTES:
        if route.by_hand:
            continue
        found = openapi["paths"][route.path][route.method.lower()]
        names = [each["name"] for each in found.get("parameters", [])]
        place = path_parameter(route)
        assert names == ([] if place is None else [place]) + [each.name for each in route.query]
        assert found["description"].startswith(route.about)
        assert ("role `deploy`" in found["description"]) == (route.role is Role.DEPLOY)
        assert _body_members(openapi, found) == _members(route)


def _members(route: Route) -> set[str] | str | None:
    return set(route.json) if route.json else "bytes" if route.raw is not None else None


def _body_members(openapi: dict[str, Any], operation: dict[str, Any]) -> set[str] | str | None:
    if "requestBody" not in operation:
        return None
    content = operation["requestBody"]["content"]
    if "application/json" not in content:
        return "bytes"
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return set(openapi["components"]["schemas"][name]["properties"])


def test_a_verb_that_is_to_be_written_by_hand_and_is_not_is_refused(gateway: Front) -> None:
    with pytest.raises(TypeError, match="LaunchVm"):
        add_verbs(APIRouter(), VM_VERBS, gateway.vms, Documents({}), {})
