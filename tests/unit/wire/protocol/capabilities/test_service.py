"""What makes an image a service: the table [service], the kinds of its operations, and operations as values."""

import re
from typing import Any

import pytest
from tests.rigs.manifest_cases import FILES, TEXT

from casemate.cli.inspection.manifest_facts import manifest_facts
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_fields, parse_fields
from casemate.wire.errors import WireError
from casemate.wire.protocol.capabilities.service import (
    MAX_DESCRIPTION,
    Family,
    Hook,
    Kind,
    OperationRules,
    ServiceVersion,
)
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.protocol.operation import Operation

WITHOUT = re.sub(r"\[service\]\n(?:\w+ = .*\n)+", "", TEXT).replace('kind = "query"\n', "", 1)
"""The sample manifest, no service."""
LINES = {"version": '"1.4.0"', "family": '"custom"', "description": '"Finds documents by their words."'}


def _service(kind: str = 'kind = "query"', **lines: str) -> Manifest:
    """The sample manifest as a service; ``lines`` are keys of [service], an empty one is left out."""
    table = "".join(f"{name} = {value}\n" for name, value in {**LINES, **lines}.items() if value)
    text = WITHOUT.replace("[entry.search]\n", f"[entry.search]\n{kind}\n", 1)
    assert text != WITHOUT
    return parse_manifest(f"{text}\n[service]\n{table}".encode(), FILES.get)


def _refused(key: str, want: str, **given: str) -> ManifestError:
    with pytest.raises(ManifestError, match=re.escape(want)) as raised:
        _service(**given)
    assert raised.value.key == key
    return raised.value


def test_an_image_without_the_table_is_no_service() -> None:
    manifest = parse_manifest(WITHOUT.encode(), FILES.get)
    assert manifest.service is None
    assert [entry.operation for entry in manifest.entries] == [None] * len(manifest.entries)
    assert "service" not in dict(manifest_facts(manifest))


def test_a_service_says_what_it_is() -> None:
    manifest = _service(hooks='["health", "initialize"]', configuration='{ type = "object" }')
    rules = manifest.service
    assert rules is not None
    assert (str(rules.version), rules.family, rules.description) == ("1.4.0", Family.CUSTOM, LINES["description"][1:-1])
    assert rules.hooks == {Hook.HEALTH, Hook.INITIALIZE}
    assert rules.configuration is not None
    assert rules.configuration.document == {"type": "object"}
    facts = dict(manifest_facts(manifest))
    assert facts["service"] == "version 1.4.0, custom: Finds documents by their words."
    assert facts["hooks"] == "initialize, health"
    assert facts["configured"] == "by its deployment's owner"
    assert "search (query)" in facts["entry points"]


@pytest.mark.parametrize(
    ("kind", "rules", "shown"),
    [
        ('kind = "query"', OperationRules(Kind.QUERY, idempotent=True), "search (query)"),
        ('kind = "query"\nidempotent = true', OperationRules(Kind.QUERY, idempotent=True), "search (query)"),
        ('kind = "command"', OperationRules(Kind.COMMAND, idempotent=False), "search (command)"),
        ('kind = "command"\nidempotent = true', OperationRules(Kind.COMMAND, idempotent=True), "(command, idempotent)"),
    ],
)
def test_an_operation_is_a_query_or_a_command(kind: str, rules: OperationRules, shown: str) -> None:
    manifest = _service(kind)
    entry = manifest.entry("search")
    assert entry is not None
    assert entry.operation == rules
    assert shown in dict(manifest_facts(manifest))["entry points"]


def test_a_query_cannot_be_said_to_change_something() -> None:
    with pytest.raises(ManifestError, match='kind = "command"') as raised:
        _service('kind = "query"\nidempotent = false')
    assert raised.value.key == "entry.search.idempotent"


def test_every_operation_of_a_service_says_its_kind() -> None:
    with pytest.raises(ManifestError, match="query") as raised:
        _service("")
    assert raised.value.key == "entry.search.kind"
    with pytest.raises(ManifestError, match="query"):
        _service('kind = "event"')


@pytest.mark.parametrize("line", ['kind = "query"', "idempotent = true"])
def test_only_operations_of_a_service_have_a_kind(line: str) -> None:
    text = WITHOUT.replace("[entry.search]\n", f"[entry.search]\n{line}\n", 1)
    with pytest.raises(ManifestError, match=r"a table \[service\]") as raised:
        parse_manifest(text.encode(), FILES.get)
    assert raised.value.key == f"entry.search.{line.split(maxsplit=1)[0]}"
    assert "add [service]" in raised.value.advice


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.1000000", " 1.0.0", "1.0.0\\n", "\u0661.0.0"],
)
def test_a_version_is_three_numbers(text: str) -> None:
    _refused("service.version", "three numbers", version=f'"{text}"')


def test_versions_have_the_order_of_their_numbers() -> None:
    written = ["0.9.9", "0.10.0", "1.0.0", "1.0.10", "1.2.0", "10.0.0"]
    versions = [ServiceVersion.parse("version", text) for text in ("10.0.0", *written[:-1])]
    ordered = sorted(versions)
    assert [str(version) for version in ordered] == written


@pytest.mark.parametrize("name", list(LINES))
def test_what_a_service_says_of_itself_has_no_default(name: str) -> None:
    error = _refused(f"service.{name}", "not there", **{name: ""})
    assert error.advice == f"add {name} = ... to [service] of casemate.toml"


@pytest.mark.parametrize(
    "text", ['""', '" "', '"two\\nlines"', '"\\u0007"', f'"{"é" * (MAX_DESCRIPTION // 2 + 1)}"', "7"]
)
def test_a_description_is_one_line(text: str) -> None:
    _refused("service.description", "one line", description=text)


def test_a_family_is_one_of_a_few() -> None:
    _refused("service.family", "'crypto' or 'storage'", family='"bank"')


@pytest.mark.parametrize("text", ['"start"', '["begin"]', "[1]", '["start", "start"]', "[[]]"])
def test_hooks_are_names_that_are_known(text: str) -> None:
    _refused("service.hooks", "name", hooks=text)


def test_a_shared_guest_is_only_initialized() -> None:
    shared = 'isolation = "shared"'
    text = WITHOUT.replace('isolation = "caller"', shared, 1)
    assert shared in text
    limits = re.sub(r"(concurrent|guests) = \d+", r"\1 = 1", text)
    table = "".join(f"{name} = {value}\n" for name, value in LINES.items())
    whole = limits.replace("[entry.search]\n", '[entry.search]\nkind = "query"\n', 1) + f"\n[service]\n{table}"
    assert parse_manifest(f'{whole}hooks = ["initialize"]'.encode(), FILES.get).service is not None
    with pytest.raises(ManifestError, match="a guest of its own"):
        parse_manifest(f'{whole}hooks = ["initialize", "health"]'.encode(), FILES.get)


def test_what_is_configured_is_kept_in_the_state() -> None:
    table = "".join(f"{name} = {value}\n" for name, value in LINES.items())
    without = re.sub(r"\[state\]\n(?:\w+ = .*\n)+", "", WITHOUT).replace(
        "[entry.search]\n", '[entry.search]\nkind = "query"\n', 1
    )
    assert "[state]" not in without
    with pytest.raises(ManifestError, match="a state") as raised:
        parse_manifest(f'{without}\n[service]\n{table}configuration = {{ type = "object" }}'.encode(), FILES.get)
    assert "add [state]" in raised.value.advice


def test_nothing_is_reconfigured_that_is_not_configured() -> None:
    _refused("service.hooks", "a key configuration", hooks='["reconfigure"]')


def test_an_export_is_an_operation_or_a_hook() -> None:
    table = "".join(f"{name} = {value}\n" for name, value in LINES.items())
    text = WITHOUT.replace("[entry.search]\n", '[entry.health]\nkind = "query"\n', 1)
    with pytest.raises(ManifestError, match="another name") as raised:
        parse_manifest(f'{text}\n[service]\n{table}hooks = ["health"]'.encode(), FILES.get)
    assert raised.value.key == "entry.health"


ARGUMENTS: dict[str, Any] = {"data": "é", "times": 3, "none": None}


def test_an_operation_is_kept_and_comes_back() -> None:
    operation = Operation.of(Family.CRYPTO, "crypto", "sign", ARGUMENTS)
    assert operation.json() == {"family": "crypto", "service": "crypto", "operation": "sign", "arguments": ARGUMENTS}
    assert Operation.from_json(encode_json(operation.json())) == operation
    assert parse_fields(Operation, encode_fields(operation)) == operation


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"family": "bank"}, "operation.family"),
        ({"service": "../crypto"}, "function's name"),
        ({"service": "7"}, "function's name"),
        ({"operation": "sign it"}, "operation"),
        ({"operation": "a" * 65}, "operation"),
        ({"more": 1}, "operation"),
        ({"family": None}, "operation.family"),
    ],
)
def test_an_operation_of_bad_text_is_refused(change: dict[str, Any], field: str) -> None:
    whole = Operation.of(Family.CRYPTO, "crypto", "sign", ARGUMENTS).json()
    with pytest.raises(WireError) as raised:
        Operation.from_json(encode_json({**whole, **change}))
    assert raised.value.field == field


@pytest.mark.parametrize("missing", ["family", "service", "operation", "arguments"])
def test_an_operation_has_all_its_parts(missing: str) -> None:
    whole = Operation.of(Family.CRYPTO, "crypto", "sign", ARGUMENTS).json()
    del whole[missing]
    with pytest.raises(WireError, match=missing):
        Operation.from_json(encode_json(whole))
