"""Parsers of strangers' bytes outside the chip: work and memory stay in proportion to the input.

``make nightly`` measures the rows of ``MORE``, too.
"""

import base64
import itertools
import random
import sys
from collections.abc import Callable, Iterable

import pytest
from tests.rigs.costs import Cost, Meter, Where

from casemate.images.schemas.costs import MAX_CHECKS, MAX_PATTERN_STEPS, MAX_PATTERNS
from casemate.images.schemas.schemas import InboundSchema, inbound_schema
from casemate.verifier.policy_text import MAX_POLICY, policy_body
from casemate.wire.encodings import der
from casemate.wire.encodings.json_text import MAX_ITEMS, parse_json
from casemate.wire.encodings.pem import MAX_CERTIFICATE, encode_chain, parse_chain, read_certificates
from casemate.wire.encodings.toml_text import MAX_KEYS, MAX_PARTS, MAX_TOML, MAX_WORD, parse_toml
from casemate.wire.encodings.x509 import CertificateParts, RevocationListParts
from casemate.wire.protocol.manifest_table import MAX_SCHEMA
from casemate.wire.protocol.manifest_text import MAX_MANIFEST, parse_manifest
from casemate.wire.protocol.tee import MAX_ENDORSEMENTS

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc/self"),
]

MIB = 2**20


def _toml(text: bytes) -> object:
    return parse_toml("it", text)


def _json(text: bytes) -> object:
    return parse_json("it", text, limit=16 * MIB)


def _filled(pieces: Iterable[bytes], size: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """As many of the pieces as fit into so many bytes."""
    made = bytearray(before)
    for piece in pieces:
        if len(made) + len(piece) + len(after) > size:
            break
        made += piece
    return bytes(made + after)


def _repeated(piece: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: _filled(itertools.repeat(piece), size, before, after)


def _numbered(pattern: bytes, before: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: _filled((pattern % at for at in itertools.count()), size, before)


DEEP = b".a" * (MAX_PARTS - 7)


def _tables(parts: int) -> bytes:
    return b"".join(b"[a%d" % at + DEEP + b"]\n" for at in range(parts // (MAX_PARTS - 6)))


def _header_and_lines(parts: int) -> bytes:
    lines = parts // (MAX_PARTS - 6) - 2
    return b"[x" + DEEP + b"]\n" + b"".join(b"a%d" % at + DEEP + b"=[]\n" for at in range(lines))


def _items(item: bytes, weight: int, before: bytes = b"[", after: bytes = b"]") -> Callable[[int], bytes]:
    """As many items as have so many members together."""
    return lambda size: before + b",".join([item] * (size // weight)) + after


def _members(value: bytes) -> Callable[[int], bytes]:
    return lambda size: b"{" + b",".join(b'"%06d":%b' % (at, value) for at in range(size // 2)) + b"}"


def _text(before: str, character: str, after: str) -> Callable[[int], bytes]:
    start, end = before.encode(), after.encode()
    return _repeated(character.encode(), start, end)


def _schema(text: bytes) -> object:
    return inbound_schema(_json(text))


def _properties(size: int) -> bytes:
    names = (b'"p%d":{"type":"string"},' % at for at in itertools.count())
    return _filled(names, size, b'{"properties":{', b'"last":true}}')


def _enumeration(size: int) -> bytes:
    return _filled((b'"%06d",' % at for at in itertools.count()), size, b'{"enum":[', b'"last"]}')


def _choices(count: int) -> bytes:
    return b'{"items":{"anyOf":[' + b",".join(b'{"const":%d}' % at for at in range(count)) + b"]}}"


def _patterns(count: int) -> bytes:
    return b'{"allOf":[' + b",".join(b'{"pattern":"\\\\w{20}%d"}' % at for at in range(count)) + b"]}"


def _checking(schema: bytes) -> Callable[[bytes], object]:
    """What is measured is a value's check; the schema is compiled before, and the value is read."""
    compiled = inbound_schema(_json(schema))
    return lambda value: (compiled, _json(value))


def _check(ready: tuple[InboundSchema, object]) -> None:
    schema, value = ready
    schema.check(value)


def _letters(size: int) -> bytes:
    """Letters a and b in no order, which keep a pattern in many states."""
    return b'"' + bytes(random.Random(1).choices(b"ab", k=size)) + b'"'


def _manifest(text: bytes) -> object:
    schema = b'{"type":"object","properties":{"a":{"type":"string"}}}'
    return parse_manifest(text, {"guest/main.js": b"", "schemas/s.json": schema}.get)


def _callers(count: int) -> bytes:
    keys = [base64.b64encode(at.to_bytes(32, "big")).decode() for at in range(1000, count + 1000)]
    names = ",".join(f'"c{at}"' for at in range(count))
    entry = 'input = "schemas/s.json"\noutput = "schemas/s.json"\n'
    return (
        _HEAD
        + "[callers]\n"
        + "".join(f'c{at} = "ed25519:{key}"\n' for at, key in enumerate(keys))
        + "".join(f"[entry.f{at}]\n{entry}callers = [{names}]\n" for at in range(16))
    ).encode()


_HEAD = (
    '[enclave]\nname = "x"\nproduct_id = 1\nsecurity_version = 1\nengine = "javascript"\nmain = "guest/main.js"\n'
    "[limits]\nmemory_mib = 64\ntime_ms = 100\noutput_kib = 16\n"
)


def _inline_schemas(size: int) -> bytes:
    """Entry points with one long schema each, up to so many bytes."""
    long = "{ enum = [" + "1," * (size // 64 // 2 - 60) + "1] }"
    return (
        _HEAD + "".join(f'[entry.f{at}]\ninput = {long}\noutput = {{}}\ncallers = "anyone"\n' for at in range(64))
    ).encode()


def _long_names(size: int) -> bytes:
    return f'{_HEAD}[callers]\n"{"a" * (size - len(_HEAD) - 64)}" = "ed25519:"\n'.encode()


def _unknown_keys(count: int) -> bytes:
    keys = "".join(f"security_versi_n{at:047}=1\n" for at in range(count))
    return f'[enclave]\nname = "x"\nproduct_id = 1\n{keys}[limits]\n'.encode()


def _crl(size: int) -> bytes:
    """A list of short entries; its signature holds nothing."""
    algorithm = der.element(der.SEQUENCE, der.oid("1.2.840.10045.4.3.2"))
    time = der.element(der.UTC_TIME, b"260101000000Z")
    reason = der.element(der.SEQUENCE, der.oid("2.5.29.21"), der.element(der.OCTET_STRING, b"\x0a\x01\x01"))
    tail = time + der.element(der.SEQUENCE, reason)
    count = size // 48
    entries = (der.element(der.SEQUENCE, der.uint(at + 2**63), tail) for at in range(count))
    name = der.element(der.SEQUENCE)
    listed = der.element(der.SEQUENCE, *entries)
    tbs = der.element(der.SEQUENCE, der.uint(1), algorithm, name, time, time, listed)
    return der.element(der.SEQUENCE, tbs, algorithm, der.element(der.BIT_STRING, bytes(9)))


def _chain(size: int) -> bytes:
    return encode_chain(*[bytes(min(size, MAX_CERTIFICATE))] * (size // MAX_CERTIFICATE or 1))


def _parse_pem(text: bytes) -> object:
    return parse_chain("it", text)


def _read_pem(text: bytes) -> object:
    return read_certificates("it", text)


def _policy(text: bytes) -> object:
    return policy_body(text.decode())


def _oid(contents: bytes) -> object:
    return der.dotted("it", contents)


ELSEWHERE = Where.ELSEWHERE

COSTS = (
    Cost("TOML: a key of many parts", ELSEWHERE, _toml, _repeated(b".a", b"a", b"=1"), MAX_TOML, accepted=False),
    Cost("TOML: a header of many parts, many lines", ELSEWHERE, _toml, _header_and_lines, MAX_KEYS),
    Cost("TOML: many tables", ELSEWHERE, _toml, _tables, MAX_KEYS),
    Cost("TOML: many keys", ELSEWHERE, _toml, _numbered(b"a%06d=1\n"), 10 * MAX_KEYS),
    Cost("TOML: many items", ELSEWHERE, _toml, _repeated(b"1,", b"a=[", b"]"), MAX_TOML),
    Cost("JSON: small objects", ELSEWHERE, _json, _items(b'{"a":1}', 4), MAX_ITEMS - 4),
    Cost("JSON: nested objects", ELSEWHERE, _json, _items(b'{"a":' * 60 + b"1" + b"}" * 60, 181), MAX_ITEMS - 181),
    Cost("JSON: names", ELSEWHERE, _json, _members(b'"text"'), MAX_ITEMS - 4),
    Cost("JSON: escapes and commas in a string", ELSEWHERE, _json, _text('"', "\\n\\\\,", '"'), 16 * MIB),
    Cost("JSON: a wide character", ELSEWHERE, _json, _text('"\U0001f600', "a", '"'), 6 * MIB),
    Cost("schema: properties", ELSEWHERE, _schema, _properties, MAX_SCHEMA),
    Cost("schema: an enum", ELSEWHERE, _schema, _enumeration, MAX_SCHEMA),
    Cost("schema: patterns", ELSEWHERE, _schema, _patterns, MAX_PATTERNS // 2),
    Cost(
        "schema: a check by many choices",
        ELSEWHERE,
        _check,
        _items(b"98", 1),
        MAX_CHECKS // 100 - 1,
        ready=_checking(_choices(99)),
    ),
    Cost(
        "schema: a check by a pattern of many states",
        ELSEWHERE,
        _check,
        _letters,
        MAX_PATTERN_STEPS // 205,
        accepted=False,
        ready=_checking(b'{"pattern":"^([ab]*a[ab]{200}b)*$"}'),
    ),
    Cost("revocation list: entries", ELSEWHERE, RevocationListParts.parse, _crl, MAX_ENDORSEMENTS),
    Cost("certificate: zeros", ELSEWHERE, CertificateParts.parse, bytes, MAX_CERTIFICATE, accepted=False),
    Cost("OID: a giant arc", ELSEWHERE, _oid, lambda size: b"\xff" * (size - 1) + b"\x01", MIB, accepted=False),
    Cost("PEM: a chain", ELSEWHERE, _parse_pem, _chain, 8 * MAX_CERTIFICATE),
    Cost("PEM: hyphens", ELSEWHERE, _parse_pem, _repeated(b"-----BEGIN CERTIFICATE-----"), MIB, accepted=False),
    Cost("PEM: line feeds", ELSEWHERE, _read_pem, _repeated(b"\n \x00"), MIB, accepted=False),
    Cost("policy: a key of many parts", ELSEWHERE, _policy, _repeated(b".a", b"a", b"=1"), MAX_POLICY, accepted=False),
    Cost("policy: many digests", ELSEWHERE, _policy, _repeated(b"'" + b"a" * 64 + b"',", b"a=[", b"]"), MAX_POLICY),
    Cost("manifest: callers of many entries", ELSEWHERE, _manifest, _callers, 800),
    Cost("manifest: inline schemas", ELSEWHERE, _manifest, _inline_schemas, MAX_MANIFEST),
    Cost("manifest: a long name", ELSEWHERE, _manifest, _long_names, MAX_MANIFEST, accepted=False),
    Cost("manifest: unknown keys", ELSEWHERE, _manifest, _unknown_keys, 3600, accepted=False),
)

MORE = (
    Cost("TOML: strings", ELSEWHERE, _toml, _repeated(b'"",', b"a=[", b"]"), MAX_TOML),
    Cost("TOML: escapes", ELSEWHERE, _toml, _repeated(b"\\n", b'a="', b'"'), MAX_TOML),
    Cost("TOML: quotation marks", ELSEWHERE, _toml, _repeated(b'""\\"', b'a="""', b'"""'), MAX_TOML),
    Cost("TOML: comments", ELSEWHERE, _toml, _repeated(b"#\n"), MAX_TOML),
    Cost("TOML: comments in an array", ELSEWHERE, _toml, _repeated(b"#\n", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: numbers", ELSEWHERE, _toml, _repeated(b"0x" + b"f" * (MAX_WORD - 2) + b",", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: line feeds", ELSEWHERE, _toml, _repeated(b"\n"), MAX_TOML),
    Cost("TOML: nesting", ELSEWHERE, _toml, _repeated(b"[" * 15 + b"]" * 15 + b",", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: brackets", ELSEWHERE, _toml, _repeated(b"[", b"a="), MAX_TOML, accepted=False),
    Cost("TOML: dots", ELSEWHERE, _toml, _repeated(b"."), MAX_TOML, accepted=False),
    Cost("TOML: open strings", ELSEWHERE, _toml, _repeated(b'"\n'), MAX_TOML, accepted=False),
    Cost("JSON: strings", ELSEWHERE, _json, _items('"\u20acaaa"'.encode(), 1), MAX_ITEMS - 3),
    Cost("JSON: lists", ELSEWHERE, _json, _items(b"[" * 60 + b"]" * 60, 121), MAX_ITEMS - 121),
    Cost("JSON: numbers", ELSEWHERE, _json, _items(b"12345.6e7", 1), MAX_ITEMS - 3),
    Cost("JSON: large integers", ELSEWHERE, _json, _items(b"1234567890123456", 1), MAX_ITEMS - 3),
    Cost("JSON: surrogates", ELSEWHERE, _json, _text('"', "\\ud83d\\ude00", '"'), 8 * MIB),
    Cost("JSON: one string", ELSEWHERE, _json, _text('"', "a", '"'), 16 * MIB),
    Cost("JSON: one number", ELSEWHERE, _json, _text("1.", "1", ""), 16 * MIB),
    Cost("JSON: white space", ELSEWHERE, _json, _text("", " ", "1"), 16 * MIB),
    Cost("JSON: one integer", ELSEWHERE, _json, _text("1", "1", ""), 16 * MIB, accepted=False),
    Cost("JSON: backslashes", ELSEWHERE, _json, _text('"\\', "\\\\", '"'), 16 * MIB, accepted=False),
    Cost("JSON: quotation marks", ELSEWHERE, _json, _text('"', '"', '"'), 16 * MIB, accepted=False),
    Cost("JSON: commas", ELSEWHERE, _json, _text("[", ",", "]"), 16 * MIB, accepted=False),
    Cost("JSON: brackets", ELSEWHERE, _json, _text("[", "[", "]"), 16 * MIB, accepted=False),
    Cost("JSON: a name many times", ELSEWHERE, _json, _items(b'"a":1', 2, b"{", b"}"), MAX_ITEMS - 4, accepted=False),
)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
def test_costs_stay_in_proportion_to_the_input(meter: Meter, cost: Cost) -> None:
    assert meter.faults(__name__, cost) == []


@pytest.mark.nightly("more inputs for each parser")
@pytest.mark.parametrize("cost", MORE, ids=lambda cost: cost.name)
def test_costs_of_more_inputs_stay_in_proportion(meter: Meter, cost: Cost) -> None:
    assert meter.faults(__name__, cost) == []
