"""The page of the REST reference: every operation of the gateway, out of its own OpenAPI document."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from casemate.gateway.app import Gateway
from casemate.gateway.docs.routes import document
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.settings import Settings
from casemate.gateway.http.tokens import TokenStore
from casemate.gateway.v1.machine import MachineFile
from casemate.host.events import Events

if TYPE_CHECKING:
    from casemate.gateway.host_api import HostApi, VmHostApi

PATH = "reference/rest.md"
TITLE = "REST: the gateway"

_HEAD = """# The gateway's REST API

What each operation takes and answers, as `/openapi.json` says it. [The gateway](../gateway.md) explains it with curl
and has the table of refusals: each comes as a problem document (RFC 9457), listed here by status and code.
"""


class _NoHouse:
    """Stands behind a gateway that nobody asks for anything but its document."""

    events = Events()


def openapi() -> dict[str, Any]:
    """The gateway's document; nothing is started for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = RequestLog(folder / "gateway.log")
        try:
            gateway = Gateway(
                cast("HostApi", _NoHouse()),
                cast("VmHostApi", _NoHouse()),
                tokens=TokenStore(folder / "tokens.json", None),
                machine=MachineFile(folder / "machine.json"),
                learner=folder,
                guests=folder,
                log=log,
                settings=Settings(),
            )
            return document(gateway.app)
        finally:
            log.close()


def rest_page(found: dict[str, Any]) -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(f"{method.upper()} {path}", operation))
    parts.append("## Documents\n")
    parts += [_schema(name, schema) for name, schema in sorted(found["components"]["schemas"].items())]
    return "\n".join(parts)


def _operation(title: str, operation: dict[str, Any]) -> str:
    lines = [f"## `{title}`", "", operation.get("description", operation["summary"]), ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | type | |", "| --- | --- | --- | --- |"]
        for each in parameters:
            words = each.get("description", "")
            lines.append(f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {_cell(words)} |")
        lines.append("")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += [f"Body: `{kind}`, {_type(content.get('schema', {}))}.", ""]
    lines += ["| status | answer | |", "| --- | --- | --- |"]
    for status, response in operation["responses"].items():
        kinds = [
            f"`{kind}` {_type(content.get('schema', {}))}" for kind, content in response.get("content", {}).items()
        ]
        lines.append(f"| {status} | {'; '.join(kinds)} | {_cell(response['description'])} |")
    return "\n".join([*lines, ""])


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}", "", schema.get("description", ""), ""]
    if "properties" in schema:
        lines += ["| member | type | |", "| --- | --- | --- |"]
        required = schema.get("required", [])
        for member, said in schema["properties"].items():
            must = "" if member in required else "May be left out. "
            lines.append(f"| `{member}` | {_type(said)} | {must}{_cell(said.get('description', ''))} |")
    elif "enum" in schema:
        lines.append("One of " + ", ".join(f"`{word}`" for word in schema["enum"]) + ".")
    return "\n".join([*lines, ""])


def _type(schema: dict[str, Any]) -> str:
    """In a few words, with links to the documents that are named."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{json.dumps(word)}`" for word in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("contentMediaType") or schema.get("type", "any JSON")
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _cell(words: str) -> str:
    """On one line of a table."""
    return " ".join(words.split()).replace("|", "\\|")
