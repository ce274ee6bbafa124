"""A JSON Schema of casemate.toml, for editors: names, words and bounds are those of the manifest's parser.

An editor that knows TOML (Even Better TOML, Taplo, IntelliJ) completes keys, explains them and marks mistakes by it.
Draft 7 is what these read. What no schema can say is left to the parser: whether a file is there, whether a caller's
name is in ``[callers]``, one key under two names, sums, bytes of UTF-8.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from casemate.wire.encodings.fields import MAX_U16, MAX_U32
from casemate.wire.protocol import manifest_text as grammar
from casemate.wire.protocol.call import MAX_REASON
from casemate.wire.protocol.caller_key import PREFIX
from casemate.wire.protocol.capabilities import appraise, keys, run, service, uses
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME
from casemate.wire.protocol.function_name import NAME as NAME_PATTERN
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import ANYONE, Engine, Monitored, Permission, Reaction, Recovery
from casemate.wire.protocol.manifest_table import SCHEMAS
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.sgx.tcb_info import TcbStatus

Json = dict[str, Any]

FILE_NAME: Final = "casemate.schema.json"
"""What `casemate init` calls the schema beside the manifest."""

_PART = r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*"
"""A part of a path. Names that begin with a dot are not measured."""
_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""Words in one line."""


def manifest_schema() -> Json:
    """The schema, whose tables and keys are :data:`casemate.wire.protocol.manifest_text.KEYS`."""
    shared = {"properties": {"isolation": {"const": str(Isolation.SHARED)}}, **_has("isolation")}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "casemate.toml",
        "description": "What an enclave is called, what it may do and who may call it. All of it is measured. "
        "`casemate docs writing-functions` explains each key.",
        **_table(
            {
                "enclave": _enclave(),
                "limits": _limits(),
                "callers": _callers(),
                "entry": {**_functions("Entry points: functions of the main module.", _entry()), "minProperties": 1},
                "ocall": _functions("Questions to the untrusted host.", _ocall()),
                "state": _state(),
                "ra_tls": _ra_tls(),
                "errors": _errors(),
                "receipt": _receipt(),
                "monitor": _monitor(),
                "uses": _uses(),
                "run": _run(),
                "appraise": _appraise(),
                "service": _service(),
                "keys": _keys(),
            },
            required=("enclave", "limits", "entry"),
        ),
        "if": {"properties": {"enclave": shared}, **_has("enclave")},
        "then": {"properties": {"limits": {"properties": {"concurrent": {"const": 1}, "guests": {"const": 1}}}}},
    }


def _enclave() -> Json:
    permissions = {
        "type": "array",
        "items": {"enum": [str(each) for each in Permission]},
        "uniqueItems": True,
        "default": [],
        "description": "What the function may use that no table grants. A Python function must have random and now.",
    }
    members = {
        "name": _text("Names the image's files; nobody relies on it.", pattern=_whole(grammar.ENCLAVE_NAME)),
        "product_id": _integer("Yours to choose: which of your products this is (ISVPRODID).", 0, MAX_U16),
        "security_version": _integer("Raise it when you mend a hole (ISVSVN).", 0, MAX_U16),
        "debug": _flag("true lets the operator look inside: no secret is safe then."),
        "engine": _choice("What runs the code.", Engine),
        "main": _text(
            "The module that exports the entry points, such as guest/main.js or guest/main.py.",
            pattern=f"^{grammar.GUEST}{_PART}(?:/{_PART})*$",
        ),
        "isolation": {
            **_choice("Whose calls may meet in one process of the function.", Isolation),
            "default": str(Isolation.CALLER),
        },
        "permissions": permissions,
    }
    required = ("name", "product_id", "security_version", "engine", "main")
    return {
        "description": "The enclave's identity and its engine.",
        **_table(members, required),
        "allOf": list(map(_of_engine, Engine)),
    }


def _of_engine(engine: Engine) -> Json:
    """What an engine's name demands of the keys beside it."""
    needed = [{"contains": {"const": str(each)}} for each in grammar.NEEDED_PERMISSIONS[engine]]
    endings = "|".join(map(re.escape, grammar.MAIN_FILES[engine][1]))
    demands: Json = {"properties": {"main": {"pattern": f"(?:{endings})$"}}}
    if needed:
        demands["properties"]["permissions"] = {"allOf": needed}
        demands |= _has("permissions")
    return {"if": {"properties": {"engine": {"const": str(engine)}}, **_has("engine")}, "then": demands}


def _limits() -> Json:
    members = {
        "memory_mib": _integer("Memory of the function's heap (MiB).", grammar.MIN_MEMORY_MIB, grammar.MAX_MEMORY_MIB),
        "time_ms": _integer("Time of one call, with its OCALLs (ms).", grammar.MIN_TIME_MS, grammar.MAX_TIME_MS),
        "output_kib": _integer("Longest result, as JSON (KiB).", 1, grammar.MAX_OUTPUT_KIB),
        "concurrent": {
            **_integer("Calls that the enclave serves at once.", 1, grammar.MAX_CONCURRENT),
            "default": grammar.DEFAULT_CONCURRENT,
        },
        "guests": {
            **_integer("Processes of the function at once.", 1, grammar.MAX_GUESTS),
            "default": grammar.DEFAULT_GUESTS,
        },
    }
    required = ("memory_mib", "time_ms", "output_kib")
    return {"description": "What one call may use, and how many there may be at once.", **_table(members, required)}


def _callers() -> Json:
    demands = _demands()
    enclave = {"description": "A caller that is an enclave, and what is demanded of it.", **demands}
    return {
        "type": "object",
        "description": "Callers that are known by name; they sign their calls, or prove themselves as enclaves.",
        "propertyNames": {"pattern": _whole(grammar.CALLER_NAME), "not": {"const": str(ANYONE.value)}},
        "additionalProperties": {
            "anyOf": [
                _public_key("A public key, as `casemate keygen` prints it."),
                _table({"enclave": enclave}, ("enclave",)),
            ]
        },
        "maxProperties": grammar.MAX_CALLERS,
    }


def _entry() -> Json:
    members = {
        "input": _schema("Schema of the arguments."),
        "output": _schema("Schema of the result: what it does not declare is dropped."),
        "callers": {
            "description": 'Who may call: names from [callers], or "anyone".',
            "anyOf": [
                {"const": str(ANYONE.value)},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            ],
        },
        "plain": _flag("true: may also be called in the clear."),
        "stream": _flag("true: a generator that takes and gives bytes in pieces."),
        "kind": _choice("Of a service's operation: whether it may change anything. Needs [service].", service.Kind),
        "idempotent": _flag("true: asked twice it does as much as once. Queries always are."),
    }
    return {
        **_table(members, ("input", "output", "callers")),
        "if": {"properties": {"plain": {"const": True}}, **_has("plain")},
        "then": {"properties": {"callers": {"const": str(ANYONE.value)}, "stream": {"const": False}}},
    }


def _ocall() -> Json:
    members = {
        "input": _schema("Schema of what leaves the enclave."),
        "output": _schema("Schema of what the host may answer; it may be a lie."),
    }
    return _table(members, ("input", "output"))


def _state() -> Json:
    members = {
        "policy": _choice("Who may read it later: this very code, or every version that you sign.", SealBinding),
        "recovery": _choice("What is left when the host has lost the newest state.", Recovery),
        "max_kib": _integer("All keys and values together (KiB).", 1, grammar.MAX_STATE_KIB),
    }
    return {"description": "The sealed state that the function may keep.", **_table(members, tuple(members))}


def _ra_tls() -> Json:
    members = {"enabled": {"type": "boolean", "description": "Calls over TLS, with evidence in the certificate."}}
    return {"description": "The enclave as a TLS server.", **_table(members, tuple(members))}


def _errors() -> Json:
    reason = {
        **_text("What the caller is told.", pattern=_LINE),
        "minLength": 1,
        "maxLength": MAX_REASON,
    }
    members = {"reason": reason, "details": _schema("Schema of what goes with it.")}
    return {
        "type": "object",
        "description": "Refusals of the function's own, by the code that the caller gets.",
        "propertyNames": {
            "pattern": _whole(grammar.ERROR_NAME),
            "maxLength": grammar.MAX_ERROR_NAME,
            "not": {"enum": [str(code) for code in Code]},
        },
        "additionalProperties": {"anyOf": [reason, _table(members, ("reason",))]},
        "maxProperties": grammar.MAX_ENTRIES,
    }


def _receipt() -> Json:
    members = {
        "metrics": _flag("true: receipts say what their call has used."),
        "inner": _flag("true: callers get the receipts of the calls that theirs has made, which tell whom it calls."),
    }
    return {"description": "What receipts say beside the usual.", **_table(members)}


def _monitor() -> Json:
    counted = {
        Monitored.OCALLS: "OCALLs of the enclave in a minute.",
        Monitored.CPU_MS: "Milliseconds that its guests compute in a minute.",
        Monitored.MEMORY_MIB: "MiB by which a guest has grown since it was loaded.",
        Monitored.DEATHS: "Guests that were ended, or ended themselves, over a call in a minute.",
    }
    rule = {
        "most": _integer("As much as you expect.", 1, grammar.MAX_MONITORED),
        "then": _choice("What follows where there is more.", Reaction),
    }
    members = {str(each): {"description": words, **_table(rule, tuple(rule))} for each, words in counted.items()}
    return {"description": "What you expect of the function, and what follows where it does more.", **_table(members)}


def _uses() -> Json:
    operations = {
        "type": "array",
        "items": {"type": "string", "pattern": _whole(uses.OPERATION)},
        "minItems": 1,
        "maxItems": uses.MAX_OPERATIONS,
        "uniqueItems": True,
        "description": "Its entry points that this function may call.",
    }
    repeatable = operations | {"description": "Those of them that may be carried out twice.", "default": []}
    return {
        "type": "object",
        "description": "Other enclaves that the function calls, and what it demands of each.",
        "propertyNames": {"pattern": f"^(?:{NAME_PATTERN})$", "maxLength": MAX_FUNCTION_NAME},
        "additionalProperties": _demands({"operations": operations}, {"repeatable": repeatable}),
        "maxProperties": uses.MAX_USES,
    }


def _demands(more: Json | None = None, optional: Json | None = None) -> Json:
    """What one enclave demands of another, beside keys of the table's own, of which ``more`` must be there."""
    digits = "[0-9a-f]{64}"
    layers = {
        "type": "array",
        "items": {"enum": [str(each) for each in LayerName]},
        "uniqueItems": True,
    }
    root = {
        "anyOf": [
            {"enum": [str(each) for each in uses.MakerRoot]},
            _table({"simulated_sha256": _text("Its digest.", pattern=f"^{digits}$")}, ("simulated_sha256",)),
        ],
        "description": "The maker's root; a simulated one by the digest of its certificate.",
    }
    statuses = {
        "type": "array",
        "items": {"enum": [str(each) for each in TcbStatus]},
        "minItems": 1,
        "uniqueItems": True,
        "description": "Statuses of its platform that will do.",
    }
    evidence = {
        "root": root,
        "tcb_statuses": statuses,
        "min_evaluation_number": _integer("Of TCB info and QE identity.", 0, MAX_U32),
        "max_age_days": _integer("Oldest collateral (days since its issue).", 1, uses.MAX_AGE_DAYS),
    }
    members = {
        "mrsigner": _text("Its signer's MRSIGNER, or same: whoever signs this image.", pattern=f"^(?:same|{digits})$"),
        "product_id": _integer("Which of the signer's products it is (ISVPRODID).", 0, MAX_U16),
        "min_security_version": _integer("Its oldest acceptable version (ISVSVN).", 0, MAX_U16),
        "mrenclave": _text("Its measurement: this build alone.", pattern=f"^{digits}$"),
        "service": _text("A service that comes with Casemate.", pattern=_whole(uses.SERVICE)),
        "layers": {
            "description": "Sandbox layers that must be applied.",
            **_table(
                {
                    "enclave": {"description": "Around its process.", **layers},
                    "guest": {"description": "Around its guest's.", **layers},
                }
            ),
        },
        "owner": _public_key("The owner of the one deployment that will do."),
        "deployment": _text("That deployment's name.", pattern=f"^(?:{NAME_PATTERN})$")
        | {"maxLength": MAX_FUNCTION_NAME},
        "evidence": {
            "description": "What is asked of evidence of another chip; without it that counts for nothing.",
            **_table(evidence, evidence),
        },
        **(more or {}),
        **(optional or {}),
    }
    of_signer = ("mrsigner", "product_id", "min_security_version")
    return {
        **_table(members, more or ()),
        "oneOf": [
            {"required": list(of_signer), "not": {"anyOf": list(map(_has, ("mrenclave", "service")))}},
            *({"required": [name], "not": {"anyOf": list(map(_has, of_signer))}} for name in ("mrenclave", "service")),
        ],
        "dependencies": {"owner": ["deployment"], "deployment": ["owner"]},
    }


def _run() -> Json:
    members = {
        "engines": {
            "type": "array",
            "items": {"enum": [str(each) for each in Engine]},
            "minItems": 1,
            "uniqueItems": True,
            "description": "What code may be written for that callers bring.",
        },
        "memory_mib": _integer("Memory of such code at most (MiB).", run.MIN_MEMORY_MIB, run.MAX_MEMORY_MIB),
        "time_ms": _integer("Time to load and to call it at most (ms).", 1, run.MAX_TIME_MS),
        "output_kib": _integer("Its longest result, as JSON (KiB).", 1, run.MAX_OUTPUT_KIB),
        "code_kib": _integer("All of its sources together (KiB).", 1, run.MAX_CODE_KIB),
        "at_once": {**_integer("Runs of the enclave at a time.", 1, run.MAX_AT_ONCE), "default": 1},
        "per_call": {
            **_integer("Runs of one call, or of one stream.", 1, run.MAX_PER_CALL),
            "default": run.DEFAULT_PER_CALL,
        },
    }
    required = ("engines", "memory_mib", "time_ms", "output_kib", "code_kib")
    return {"description": "Code that callers bring, and what it may use.", **_table(members, required)}


def _keys() -> Json:
    members = {
        "purpose": _choice("What it is for, and nothing else.", keys.Purpose),
        "algorithm": _choice("How it does that.", keys.Algorithm),
    }
    able = [
        {"if": {"properties": {"purpose": {"const": str(purpose)}}, **_has("purpose")},
         "then": {"properties": {"algorithm": {"enum": [str(each) for each in algorithms]}}}}
        for purpose, algorithms in keys.ALGORITHMS.items()
    ]  # fmt: skip
    return {
        "type": "object",
        "description": "Keys that are made inside and never leave. Needs [state].",
        "propertyNames": {"pattern": _whole(keys.KEY_NAME), "maxLength": keys.MAX_KEY_NAME},
        "additionalProperties": {**_table(members, ("purpose", "algorithm")), "allOf": able},
        "maxProperties": keys.MAX_KEYS,
    }


def _service() -> Json:
    hooks = {
        "type": "array",
        "items": {"enum": [str(each) for each in service.Hook]},
        "uniqueItems": True,
        "default": [],
        "description": "What the main module exports besides the operations.",
    }
    members = {
        "version": _text("Three numbers, as in 1.4.0.", pattern=_whole(service.VERSION)),
        "family": _choice("What it is about.", service.Family),
        "description": {"type": "string", "minLength": 1, "description": "One line, for those who look for a service."},
        "configuration": _schema("Schema of what the deployment's owner configures. Needs [state]."),
        "hooks": hooks,
    }
    required = ("version", "family", "description")
    return {"description": "Makes the image a service; entry points are its operations.", **_table(members, required)}


def _appraise() -> Json:
    path = {"type": "string", "minLength": 1, "description": "A measured file under schemas/ or guest/."}
    members = {
        "built": {
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            "description": "The day of the build; the enclave's time never stands before.",
        },
        "unsafe": {"type": "boolean", "default": False, "description": "Policies may say ANY_ and UNSAFE_."},
        "policies": {
            "type": "object",
            "propertyNames": {"pattern": f"^{appraise.POLICY_NAME.pattern}$"},
            "additionalProperties": path,
            "maxProperties": appraise.MAX_POLICIES,
            "description": "Policies that are part of the image, by the names that context.appraise takes.",
        },
    }
    return {"description": "Evidence of other enclaves is appraised.", **_table(members, ("built",))}


def _table(members: Json, required: Iterable[str] = ()) -> Json:
    """A table with these keys and no others."""
    named = sorted(required)
    return {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        **({"required": named} if named else {}),
    }


def _functions(description: str, member: Json) -> Json:
    """A table of tables, one for each function's name."""
    return {
        "type": "object",
        "description": description,
        "propertyNames": {"pattern": _whole(grammar.FUNCTION_NAME)},
        "additionalProperties": member,
        "maxProperties": grammar.MAX_ENTRIES,
    }


def _has(name: str) -> Json:
    return {"required": [name]}


def _whole(pattern: re.Pattern[str]) -> str:
    return f"^(?:{pattern.pattern})$"


def _text(description: str, *, pattern: str) -> Json:
    return {"type": "string", "pattern": pattern, "description": description}


def _public_key(description: str) -> Json:
    of_32_bytes = "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
    return _text(description, pattern=f"^{PREFIX}{of_32_bytes}$")


def _integer(description: str, least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _flag(description: str) -> Json:
    return {"type": "boolean", "default": False, "description": description}


def _choice(description: str, words: Iterable[str]) -> Json:
    return {"enum": [str(word) for word in words], "description": description}


def _schema(description: str) -> Json:
    """A schema: the path of a file, or an inline table."""
    path = {"type": "string", "pattern": f"^{SCHEMAS}{_PART}(?:/{_PART})*$"}
    return {"description": description, "anyOf": [path, {"type": "object"}]}
