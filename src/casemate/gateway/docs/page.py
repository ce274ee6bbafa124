"""The page of `/docs`: an OpenAPI document in the order in which one reads it. Imported when it is asked for."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_NONCE = "00112233445566778899aabbccddeeff" * 2

EXAMPLES: Mapping[str, Any] = {
    "compute": {"function": "primes", "input": {"up_to": 20}},
    "ecall": {"entry": "fibonacci", "arguments": {"n": 90}},
    "ocall": {"question": "echo", "message": "hello"},
    "seal": {"data": {"kept": "until tomorrow"}, "policy": "mrenclave"},
    "unseal": {"sealed": "AAAA"},
    "attest": {"nonce": _NONCE},
    "launch_enclave": {"image": "9f" * 32, "name": "mine"},
    "switch_function": {"enclave": 2, "replaces": 1, "drain": 30},
    "stop_service": {"with_users": True},
    "learn_launch_vm": {"guest": "report", "mode": "sev-snp"},
    "learn_encrypt_vm": {"data": "Attack at dawn. ", "gpa": "0x300000"},
    "learn_attest_vm": {"nonce": _NONCE},
    "run_vm": {"time_ms": 200},
    "attest_vm": {"report_data": _NONCE * 2},
    "map_vm_page": {"gpa": "0x300000", "spa": "0x301000"},
    "assign_vm_page": {"spa": "0x300000", "gpa": "0x300000"},
}
"""Bodies to begin with, by the ids of operations that take JSON. They are not in `/openapi.json`: programs that
test an API by it take an example for a body that succeeds at once."""

GROUPS = (
    ("learner", "To learn with: plain JSON, which the operator can read"),
    ("machine", "The machine"),
    ("images", "Images"),
    ("enclaves", "Enclaves"),
    ("functions", "Functions by name"),
    ("services", "Services"),
    ("calls", "Evidence and sealed calls"),
    ("vms", "Confidential VMs"),
)
"""Tags and their headings, in the order of the page."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{background:#8882;border-radius:3px}code{padding:0 .25em}pre{padding:.5em;overflow-x:auto}"
    "h2{margin:3rem 0 0}h3{font-size:1rem;margin:2rem 0 .25rem}h4{font-size:.9rem;margin:.75rem 0 0}"
    "table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}"
    "nav{columns:20rem;margin:1rem 0}nav a{display:block;overflow-wrap:anywhere}summary{cursor:pointer}"
    ":root{color-scheme:light dark}"
)
_GOOD = re.compile(r"2\d\d")
_CODE = re.compile(r"`([^`]+)`")
_DEEPEST = 3
Document = Mapping[str, Any]


def page(found: Document) -> str:
    """The whole page."""
    info = found["info"]
    parts = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>", _prose(info["description"])]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>')
    parts.append(_prose("Where a token is needed: `Authorization: Bearer casemate_...`."))
    operations = [*_operations(found)]
    parts.append("<nav>")
    parts += [f'<a href="#{name}"><code>{escape(title)}</code></a>' for _, name, title, _ in operations]
    parts.append("</nav>")
    for tag, heading in GROUPS:
        parts.append(f'<h2 id="{tag}">{escape(heading)}</h2>')
        for group, name, title, operation in operations:
            if group == tag:
                parts.append(f'<h3 id="{name}"><code>{escape(title)}</code></h3>')
                parts += _operation(found, title, operation)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Casemate</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _operations(found: Document) -> Iterator[tuple[str, str, str, Document]]:
    """Tag, anchor, method and path, and what is said of it: by groups."""
    order = [tag for tag, _ in GROUPS]
    all_of_them = [
        (operation["tags"][0], operation["operationId"], f"{method.upper()} {path}", operation)
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    yield from sorted(all_of_them, key=lambda each: order.index(each[0]))


def _operation(found: Document, title: str, operation: Document) -> Iterator[str]:
    yield _prose(operation.get("description", ""))
    if parameters := operation.get("parameters"):
        rows = [
            (f"`{each['name']}`", each["in"], _kind(found, each["schema"]), _need(each), each.get("description", ""))
            for each in parameters
        ]
        yield "<h4>Parameters</h4>" + _table(rows)
    if body := operation.get("requestBody"):
        yield "<h4>Body</h4>" + _prose(body.get("description", ""))
        for media_type, content in body["content"].items():
            yield _content(found, media_type, content)
    yield f"<h4>Example</h4><pre>{escape(_example(title, operation))}</pre>"
    responses = operation["responses"].items()
    for status, response in responses:
        if _GOOD.fullmatch(str(status)):
            inside = "".join(_content(found, *each) for each in response.get("content", {}).items())
            about = f"{status}: {_inline(response['description'])}"
            yield f"<details><summary>{about}</summary>{inside}</details>" if inside else f"<p>{about}</p>"
    refusals = [(str(status), each["description"]) for status, each in responses if not _GOOD.fullmatch(str(status))]
    yield f"<details><summary>{len(refusals)} statuses of refusals</summary>{_table(refusals)}</details>"


def _content(found: Document, media_type: str, content: Document) -> str:
    shown = f"<p><code>{escape(media_type)}</code></p>"
    members = [*_members(found, content.get("schema", {}))]
    return shown + (_table(members) if members else "")


def _members(found: Document, schema: Document, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The members of an object, those of objects inside it with them."""
    whole = _resolved(found, schema)
    for name, member in whole.get("properties", {}).items():
        inner = _resolved(found, member)
        needed = "required" if name in whole.get("required", ()) else _default(member)
        description = member.get("description", inner.get("description", ""))
        yield f"`{prefix}{name}`", _kind(found, member), needed, description
        item = _resolved(found, inner.get("items", {}))
        if depth < _DEEPEST:
            yield from _members(found, inner, f"{prefix}{name}.", depth + 1)
            yield from _members(found, item, f"{prefix}{name}[].", depth + 1)


def _resolved(found: Document, schema: Document) -> Document:
    reference = schema.get("$ref")
    if reference is None and len(options := [each for each in schema.get("anyOf", ()) if "$ref" in each]) == 1:
        reference = options[0]["$ref"]
    if reference is None:
        return schema
    resolved: Document = found["components"]["schemas"][reference.rpartition("/")[2]]
    return resolved


def _kind(found: Document, schema: Document) -> str:
    """A short description of a value's type."""
    if "anyOf" in schema:
        return " or ".join(_kind(found, each) for each in schema["anyOf"])
    whole = _resolved(found, schema)
    if words := whole.get("enum", [whole["const"]] if "const" in whole else []):
        return ", ".join(f"`{value}`" for value in words)
    kind = str(whole.get("type", "any JSON"))
    if kind == "array":
        kind = f"list of {_kind(found, whole.get('items', {}))}"
    least, most = whole.get("minimum"), whole.get("maximum")
    if least is not None and most is not None:
        return f"{kind}, {least:.0f} to {most:.0f}"
    if "pattern" in whole:
        return f"{kind} like `{whole['pattern']}`"
    return "bytes" if whole.get("format") == "binary" else kind


def _need(parameter: Document) -> str:
    return "required" if parameter.get("required") else _default(parameter["schema"])


def _default(schema: Document) -> str:
    return f"default `{json.dumps(schema['default'])}`" if schema.get("default") is not None else "optional"


def _example(title: str, operation: Document) -> str:
    """The request with curl; its token does not stand on the command line, which everybody on a computer can read."""
    method, _, path = title.partition(" ")
    query = "&".join(
        f"{each['name']}={each['name'].upper()}"
        for each in operation.get("parameters", ())
        if each["in"] == "query" and each.get("required")
    )
    words = ["curl"]
    if operation.get("security"):
        words.append('-H @<(echo "Authorization: Bearer $CASEMATE_TOKEN")')
    for media_type in operation.get("requestBody", {}).get("content", {}):
        if operation["operationId"] in EXAMPLES:
            words.append(f"--json '{json.dumps(EXAMPLES[operation['operationId']])}'")
        else:
            words.append(f"-H 'Content-Type: {media_type}' --data-binary @FILE")
    if method != "GET" and not (method == "POST" and "requestBody" in operation):
        words.append(f"-X {method}")
    words.append(f'"$CASEMATE_URL{path}{"?" + query if query else ""}"')
    return " ".join(words)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    cells = ("".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _prose(text: str) -> str:
    """Paragraphs of Markdown, of which nothing but code is used."""
    return "".join(f"<p>{_inline(' '.join(part.split()))}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))
