"""The gateway's REST API for confidential VMs: what the table of verbs cannot say, and the reading of answers."""

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

from casemate.client.http_exchange import BINARY, Exchange, asked_for, object_of, sent_to
from casemate.wire.encodings.fields import MAX_U16, MAX_U32
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.json_text import MAX_INTEGER, encode_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_firmware import MAX_CERTIFICATES
from casemate.wire.messages.verbs import routes_of
from casemate.wire.messages.vm import host as vms
from casemate.wire.messages.vm.hypervisor import UNLIMITED, Done, ExitReason, MemoryIs, RmpEntry, RmpIs
from casemate.wire.messages.vm.verbs import VM_VERBS
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.report import REPORT_SIZE

MAX_VM_EVIDENCE = REPORT_SIZE + MAX_CERTIFICATES + 64
"""Longest answer to a challenge (bytes)."""

ENTRIES = 4096
"""Entries of the reverse map table that are asked for at a time: gateways answer no more."""

RUN_MS = 5_000
"""Milliseconds of a run that are asked for at a time: gateways let none be longer."""

_MAX_VMS = 4096
_HEX_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
VM_ROUTES = routes_of(VM_VERBS)
Remaining = Callable[[], float]
E = TypeVar("E", bound=StrEnum)


def _launch(question: vms.LaunchVm, remaining: Remaining) -> Exchange[vms.VmIs]:
    """Launches a VM once, however often the request is sent: it carries an idempotency key."""
    body, key = encode_message(question), secrets.token_hex(16)
    request = sent_to(VM_ROUTES[vms.LaunchVm], question, body=body, body_type=BINARY)
    once = replace(request, idempotency_key=key, is_repeatable=True)
    return _vm(object_of("vm", (yield from asked_for(once, remaining))))


def _run(question: vms.RunVm, remaining: Remaining) -> Exchange[vms.VmRan]:
    """Runs in pieces that have the budget together. When this client hangs up, the gateway pauses the vCPU."""
    time_ms, executed, exits, printed = question.time_ms, 0, 0, 0
    while True:
        wanted = {
            "vcpu": question.vcpu,
            "instructions": _left(question.instructions, executed),
            "time_ms": min(time_ms, RUN_MS),
            "console": max(0, question.console - printed),
        }
        request = sent_to(VM_ROUTES[vms.RunVm], question, body=encode_json(wanted))
        body = object_of("run", (yield from asked_for(request, remaining)))
        reason = _word(body, "reason", ExitReason)
        executed += body.uint("executed", MAX_INTEGER)
        exits += body.uint("exits", MAX_INTEGER)
        printed += body.uint("printed", MAX_INTEGER)
        time_ms -= RUN_MS
        if reason is not ExitReason.TIME or time_ms <= 0:
            return vms.VmRan(_vm(body.child("vm")), reason, executed, exits, body.text("detail"))


def _left(instructions: int, executed: int) -> int | None:
    """The rest of a budget of instructions; None for an unlimited one."""
    return None if instructions == UNLIMITED else min(max(0, instructions - executed), MAX_INTEGER)


def _console(body: JsonObject) -> vms.ConsoleIs:
    try:
        content = base64.b64decode(body.text("content"), validate=True)
    except (binascii.Error, ValueError):
        raise WireError("console.content", got="something else", want="base64") from None
    if len(content) > vms.MAX_CONSOLE:
        raise WireError("console.content", got=f"{len(content)} bytes", want=f"at most {vms.MAX_CONSOLE}")
    return vms.ConsoleIs(body.uint("start", MAX_INTEGER), content, body.flag("ended"))


def _memory(question: vms.VmMemory, remaining: Remaining) -> Exchange[MemoryIs]:
    request = sent_to(VM_ROUTES[vms.VmMemory], question, accept=BINARY, limit=question.size)
    return MemoryIs((yield from asked_for(request, remaining)).body)


def _registers(question: vms.VmRegisters, remaining: Remaining) -> Exchange[MemoryIs]:
    request = sent_to(VM_ROUTES[vms.VmRegisters], question, accept=BINARY, limit=PAGE_SIZE)
    return MemoryIs((yield from asked_for(request, remaining)).body)


def _rmp(question: vms.VmRmp, remaining: Remaining) -> Exchange[RmpIs]:
    """Reads in pieces. For no entries at all, one request is sent, so that the host refuses it."""
    found: list[RmpEntry] = []
    while True:
        count = min(ENTRIES, question.count - len(found))
        piece = vms.VmRmp(question.vm, question.spa + len(found) * PAGE_SIZE, count)
        body = object_of("rmp", (yield from asked_for(sent_to(VM_ROUTES[vms.VmRmp], piece), remaining)))
        entries = body.children("entries", limit=ENTRIES)
        if len(entries) != count:
            raise WireError("rmp.entries", got=len(entries), want=count)
        found += map(_entry, entries)
        if len(found) >= question.count:
            return RmpIs(tuple(found))


def _attest(question: vms.AttestVm, remaining: Remaining) -> Exchange[vms.VmEvidenceIs]:
    body = encode_json({"report_data": question.report_data.hex()})
    request = sent_to(VM_ROUTES[vms.AttestVm], question, accept=BINARY, body=body, limit=MAX_VM_EVIDENCE)
    return parse_message((yield from asked_for(request, remaining)).body, vms.VmEvidenceIs)


def _vm(body: JsonObject) -> vms.VmIs:
    """One VM; members that this version does not know are a later gateway's."""
    return vms.VmIs(
        vm=body.uint("id", MAX_INTEGER),
        name=body.text("name"),
        mode=_word(body, "mode", VmMode),
        state=_word(body, "state", vms.VmState),
        reason=body.text("reason"),
        policy=_number(body, "policy"),
        memory_mib=body.uint("memory_mib", MAX_U32),
        vcpus=body.uint("vcpus", MAX_U16),
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


def _all(body: JsonObject) -> vms.VmsAre:
    return vms.VmsAre(tuple(_vm(each) for each in body.children("vms", limit=_MAX_VMS)))


def _done(body: JsonObject) -> Done:
    """The gateway shows the VM that was changed; the host's own answer says nothing."""
    _vm(body)
    return Done()


VMS_BY_HAND: dict[type, Callable[[Any, Remaining], Exchange[object]]] = {
    vms.LaunchVm: _launch,
    vms.RunVm: _run,
    vms.VmMemory: _memory,
    vms.VmRmp: _rmp,
    vms.VmRegisters: _registers,
    vms.AttestVm: _attest,
}
"""Requests with another body than JSON in an answer, with more than one HTTP request, or with a key of their own."""

VM_ANSWERS: dict[type, Callable[[JsonObject], object]] = {
    vms.VmIs: _vm,
    vms.VmsAre: _all,
    vms.ConsoleIs: _console,
    Done: _done,
}
"""How the gateway's JSON is read, by the class of the host's answer."""
