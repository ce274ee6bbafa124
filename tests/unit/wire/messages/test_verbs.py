"""The table of verbs: complete, without two entries for one thing, and HTTP's writing of a request can be read back."""

from dataclasses import fields
from typing import Any, cast

import pytest

from casemate.wire.errors import WireError
from casemate.wire.messages import bindings, functions, host, machine_log, service_life, services, state
from casemate.wire.messages.request import Request, answer_type
from casemate.wire.messages.verbs import (
    ENCLAVE_VERBS,
    HEXADECIMAL,
    SWITCH,
    Verb,
    field_value,
    http_value,
    id_field,
    json_members,
    path_parameter,
    routes_of,
    target,
)
from casemate.wire.messages.vm import host as vms
from casemate.wire.messages.vm import verbs as of_vms
from casemate.wire.messages.vm.hypervisor import Done
from casemate.wire.messages.vm.verbs import PLATFORM_VERBS, VM_VERBS

VERBS = (*ENCLAVE_VERBS, *VM_VERBS, *PLATFORM_VERBS)
ROUTES = [(verb, verb.route) for verb in VERBS if verb.route is not None]


def requests_in(module: Any) -> set[type]:
    return {
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Request) and each.__module__ == module.__name__
    }


def test_every_request_to_a_host_has_its_entry() -> None:
    modules = (bindings, host, functions, machine_log, service_life, services, state)
    assert {verb.request for verb in ENCLAVE_VERBS} == set().union(*map(requests_in, modules))
    assert {verb.request for verb in VM_VERBS} == requests_in(vms)


@pytest.mark.parametrize("key", ["request", "operation", "route"])
def test_no_two_entries_are_about_one_thing(key: str) -> None:
    named: dict[str, list[object]] = {
        "request": [verb.request for verb in VERBS],
        "operation": [route.operation for _, route in ROUTES],
        "route": [(route.method, route.path) for _, route in ROUTES],
    }
    assert len(set(named[key])) == len(named[key])


@pytest.mark.parametrize("verb", [verb for verb, route in ROUTES if not route.by_hand], ids=lambda verb: verb.request)
def test_a_plain_route_carries_every_field_of_its_request_once(verb: Verb) -> None:
    route = verb.route
    assert route is not None
    carried = [*(each.field for each in route.query), *route.json]
    carried += [] if route.raw is None else [route.raw.field]
    carried += [] if path_parameter(route) is None else [id_field(verb.request)]
    assert sorted(carried) == sorted(field.name for field in fields(cast("Any", verb.request)))
    assert route.about.endswith((".", "`."))


def test_addresses_are_hexadecimal_over_http_and_nothing_else_is() -> None:
    assert [http_value(name, 4096) for name in sorted(HEXADECIMAL)] == ["0x1000"] * 3
    assert http_value("gpa", None) is None
    assert http_value("nonce", b"\x01\xff") == "01ff"
    assert http_value("size", 4096) == 4096
    for field, value in (("gpa", 0), ("gpa", None), ("spa", 2**64 - 1), ("size", 7), ("view", vms.View.GUEST)):
        assert field_value(field, http_value(field, value)) == value


def test_a_request_becomes_a_path_a_query_and_a_body() -> None:
    write, assign, listed = of_vms.WRITE.route, of_vms.ASSIGN.route, of_vms.LIST.route
    assert write is not None
    assert assign is not None
    assert listed is not None
    assert target(write, vms.WriteVm(7, vms.AttackPath.DRAM, 0x3000, b"x")) == "/v1/vms/7/write?spa=0x3000&door=dram"
    asked = vms.AssignVm(7, 0x3000, None)
    assert target(assign, asked) == "/v1/vms/7/assign"
    assert json_members(assign, asked) == {"spa": "0x3000", "gpa": None}
    assert target(listed, vms.ListVms()) == "/v1/vms"
    assert target(SWITCH.route or listed, functions.SwitchFunction("a-b", 7, 0, 5)) == "/v1/functions/a-b/switch"


@pytest.mark.parametrize("name", ["a/b", "..", "7", "", "a b", "a%2fb"])
def test_what_can_be_no_functions_name_becomes_no_path(name: str) -> None:
    assert SWITCH.route is not None
    with pytest.raises(WireError, match="function's name"):
        target(SWITCH.route, functions.SwitchFunction(name, 7, 0, 5))


def test_the_type_of_an_answer_is_stated_at_the_request() -> None:
    assert answer_type(vms.AssignVm) is Done
    assert answer_type(host.Call) is host.Answer
    assert routes_of(VM_VERBS)[vms.GetVm] is of_vms.GET.route
