"""The gateway's REST API for confidential VMs: each question of :mod:`casemate.wire.messages.vm.host` as HTTP."""

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from casemate.client.http_exchange import BINARY, Exchange, HttpRequest, asked_for, object_of
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.json_text import MAX_INTEGER, encode_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_firmware import MAX_CERTIFICATES
from casemate.wire.messages.vm import host as vms
from casemate.wire.messages.vm.hypervisor import Done, ExitReason, MemoryIs, RmpEntry, RmpIs
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.report import REPORT_SIZE

MAX_VM_EVIDENCE = REPORT_SIZE + MAX_CERTIFICATES + 64
"""Longest answer to a challenge (bytes)."""

ENTRIES = 4096
"""Entries of the reverse map table that are asked for at a time: gateways answer no more."""

RUN_MS = 5_000
"""Milliseconds of a run that are asked for at a time: gateways let none be longer."""

UNCOUNTED = (1 << 64) - 1
"""A budget of instructions that is none."""

_MAX_VMS = 4096
_HEX_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
_UINT16, _UINT32 = 0xFFFF, 0xFFFF_FFFF
Remaining = Callable[[], float]
E = TypeVar("E", bound=StrEnum)


def _launch(question: vms.LaunchVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    """Once, however often it is sent."""
    body, key = encode_message(question), secrets.token_hex(16)
    request = HttpRequest("POST", "/v1/vms", body=body, body_type=BINARY, idempotency_key=key, is_repeatable=True)
    return (yield from _vm_of(request, remaining))


def _list(_question: vms.ListVms, remaining: Remaining) -> Exchange[vms.VmsAre]:
    body = object_of("vms", (yield from asked_for(HttpRequest("GET", "/v1/vms", is_repeatable=True), remaining)))
    return vms.VmsAre(tuple(_vm(each) for each in body.children("vms", limit=_MAX_VMS)))


def _get(question: vms.GetVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    return (yield from _vm_of(HttpRequest("GET", f"/v1/vms/{question.vm}", is_repeatable=True), remaining))


def _encrypt(question: vms.EncryptVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    path = f"/v1/vms/{question.vm}/encrypt?gpa={question.gpa:#x}"
    return (yield from _vm_of(HttpRequest("POST", path, body=question.content, body_type=BINARY), remaining))


def _finish(question: vms.FinishVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    return (yield from _vm_of(HttpRequest("POST", f"/v1/vms/{question.vm}/finish"), remaining))


def _pause(question: vms.PauseVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    return (yield from _vm_of(HttpRequest("POST", f"/v1/vms/{question.vm}/pause"), remaining))


def _destroy(question: vms.DestroyVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    return (yield from _vm_of(HttpRequest("DELETE", f"/v1/vms/{question.vm}"), remaining))


def _run(question: vms.RunVm, remaining: Remaining) -> Exchange[vms.VmRan]:
    """In pieces, which together have the budget. When this client hangs up, the gateway pauses the vCPU."""
    time_ms, executed, exits, printed = question.time_ms, 0, 0, 0
    while True:
        wanted = {
            "vcpu": question.vcpu,
            "instructions": _left(question.instructions, executed),
            "time_ms": min(time_ms, RUN_MS),
            "console": max(0, question.console - printed),
        }
        request = HttpRequest("POST", f"/v1/vms/{question.vm}/run", body=encode_json(wanted))
        body = object_of("run", (yield from asked_for(request, remaining)))
        reason = _word(body, "reason", ExitReason)
        executed += body.uint("executed", MAX_INTEGER)
        exits += body.uint("exits", MAX_INTEGER)
        printed += body.uint("printed", MAX_INTEGER)
        time_ms -= RUN_MS
        if reason is not ExitReason.TIME or time_ms <= 0:
            return vms.VmRan(_vm(body.child("vm")), reason, executed, exits, body.text("detail"))


def _left(instructions: int, executed: int) -> int | None:
    """Of a budget; None where there is none."""
    return None if instructions == UNCOUNTED else min(max(0, instructions - executed), MAX_INTEGER)


def _console(question: vms.ReadConsole, remaining: Remaining) -> Exchange[vms.ConsoleIs]:
    path = f"/v1/vms/{question.vm}/console?start={question.start}"
    body = object_of("console", (yield from asked_for(HttpRequest("GET", path, is_repeatable=True), remaining)))
    try:
        content = base64.b64decode(body.text("content"), validate=True)
    except (binascii.Error, ValueError):
        raise WireError("console.content", got="something else", want="base64") from None
    if len(content) > vms.MAX_CONSOLE:
        raise WireError("console.content", got=f"{len(content)} bytes", want=f"at most {vms.MAX_CONSOLE}")
    return vms.ConsoleIs(body.uint("start", MAX_INTEGER), content, body.flag("ended"))


def _memory(question: vms.VmMemory, remaining: Remaining) -> Exchange[MemoryIs]:
    query = f"view={question.view}&address={question.address:#x}&size={question.size}"
    path = f"/v1/vms/{question.vm}/memory?{query}"
    request = HttpRequest("GET", path, accept=BINARY, is_repeatable=True, limit=question.size)
    return MemoryIs((yield from asked_for(request, remaining)).body)


def _registers(question: vms.VmRegisters, remaining: Remaining) -> Exchange[MemoryIs]:
    path = f"/v1/vms/{question.vm}/registers?vcpu={question.vcpu}"
    request = HttpRequest("GET", path, accept=BINARY, is_repeatable=True, limit=PAGE_SIZE)
    return MemoryIs((yield from asked_for(request, remaining)).body)


def _rmp(question: vms.VmRmp, remaining: Remaining) -> Exchange[RmpIs]:
    """In pieces; of none, one question, so that it is the host who refuses it."""
    found: list[RmpEntry] = []
    while True:
        count = min(ENTRIES, question.count - len(found))
        path = f"/v1/vms/{question.vm}/rmp?spa={question.spa + len(found) * PAGE_SIZE:#x}&count={count}"
        body = object_of("rmp", (yield from asked_for(HttpRequest("GET", path, is_repeatable=True), remaining)))
        entries = body.children("entries", limit=ENTRIES)
        if len(entries) != count:
            raise WireError("rmp.entries", got=len(entries), want=count)
        found += map(_entry, entries)
        if len(found) >= question.count:
            return RmpIs(tuple(found))


def _attest(question: vms.AttestVm, remaining: Remaining) -> Exchange[vms.VmEvidenceIs]:
    body = encode_json({"report_data": question.report_data.hex()})
    path = f"/v1/vms/{question.vm}/attest"
    request = HttpRequest("POST", path, accept=BINARY, body=body, limit=MAX_VM_EVIDENCE)
    return parse_message((yield from asked_for(request, remaining)).body, vms.VmEvidenceIs)


def _write(question: vms.WriteVm, remaining: Remaining) -> Exchange[Done]:
    path = f"/v1/vms/{question.vm}/write?door={question.path}&spa={question.spa:#x}"
    yield from _vm_of(HttpRequest("POST", path, body=question.content, body_type=BINARY), remaining)
    return Done()


def _map(question: vms.MapVm, remaining: Remaining) -> Exchange[Done]:
    body = encode_json({"gpa": hex(question.gpa), "spa": hex(question.spa)})
    yield from _vm_of(HttpRequest("POST", f"/v1/vms/{question.vm}/map", body=body), remaining)
    return Done()


def _give(question: vms.GiveVm, remaining: Remaining) -> Exchange[Done]:
    path = f"/v1/vms/{question.vm}/input"
    yield from _vm_of(HttpRequest("POST", path, body=question.content, body_type=BINARY), remaining)
    return Done()


def _assign(question: vms.AssignVm, remaining: Remaining) -> Exchange[Done]:
    body = encode_json({"spa": hex(question.spa), "gpa": None if question.gpa is None else hex(question.gpa)})
    yield from _vm_of(HttpRequest("POST", f"/v1/vms/{question.vm}/assign", body=body), remaining)
    return Done()


WRITTEN_VMS: dict[type, Callable[[Any, Remaining], Exchange[object]]] = {
    vms.LaunchVm: _launch,
    vms.ListVms: _list,
    vms.GetVm: _get,
    vms.EncryptVm: _encrypt,
    vms.FinishVm: _finish,
    vms.RunVm: _run,
    vms.PauseVm: _pause,
    vms.DestroyVm: _destroy,
    vms.ReadConsole: _console,
    vms.VmMemory: _memory,
    vms.VmRmp: _rmp,
    vms.VmRegisters: _registers,
    vms.AttestVm: _attest,
    vms.WriteVm: _write,
    vms.MapVm: _map,
    vms.GiveVm: _give,
    vms.AssignVm: _assign,
}
"""Each question's HTTP."""


def _vm_of(request: HttpRequest, remaining: Remaining) -> Exchange[vms.VmIs]:
    return _vm(object_of("vm", (yield from asked_for(request, remaining))))


def _vm(body: JsonObject) -> vms.VmIs:
    """One VM; members that this version does not know are a later gateway's."""
    return vms.VmIs(
        vm=body.uint("id", MAX_INTEGER),
        name=body.text("name"),
        mode=_word(body, "mode", VmMode),
        state=_word(body, "state", vms.VmState),
        reason=body.text("reason"),
        policy=_number(body, "policy"),
        memory_mib=body.uint("memory_mib", _UINT32),
        vcpus=body.uint("vcpus", _UINT16),
        digest=body.hexadecimal("digest", 48),
    )


def _entry(body: JsonObject) -> RmpEntry:
    perms = body.value("permissions")
    if not isinstance(perms, list) or not all(type(each) is int and 0 <= each <= 0xFF for each in perms):
        raise WireError("rmp.permissions", got="something else", want="a byte for each VMPL")
    return RmpEntry(
        spa=_number(body, "spa"),
        assigned=body.flag("assigned"),
        gpa=_number(body, "gpa"),
        validated=body.flag("validated"),
        immutable=body.flag("immutable"),
        vmsa=body.flag("vmsa"),
        perms=tuple(perms),
    )


def _number(body: JsonObject, name: str) -> int:
    text = body.text(name)
    if not _HEX_NUMBER.fullmatch(text):
        raise WireError(name, got=ascii(text[:40]), want="a number of 64 bits such as 0x30000")
    return int(text, 16)


def _word(body: JsonObject, name: str, words: type[E]) -> E:
    try:
        return words(body.text(name))
    except ValueError:
        raise WireError(name, got="another word", want=" or ".join(words)) from None
