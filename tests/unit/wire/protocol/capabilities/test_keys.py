"""The tables [keys.NAME]: what each key is for, and by which algorithm."""

import re

import pytest
from tests.rigs.manifest_cases import FILES, TEXT

from casemate.cli.inspection.manifest_facts import manifest_facts
from casemate.wire.protocol.capabilities.keys import ALGORITHMS, MAX_KEYS, Algorithm, KeyRules, Purpose
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

DOCUMENTS = '[keys.documents]\npurpose = "sign"\nalgorithm = "ed25519"\n'


def parse(new: str) -> Manifest:
    assert DOCUMENTS in TEXT
    return parse_manifest(TEXT.replace(DOCUMENTS, new, 1).encode(), FILES.get)


def table(name: str, purpose: str, algorithm: str) -> str:
    return f'[keys.{name}]\npurpose = "{purpose}"\nalgorithm = "{algorithm}"\n'


def test_a_key_has_a_purpose_and_an_algorithm() -> None:
    manifest = parse(DOCUMENTS)
    assert manifest.keys == (KeyRules("documents", Purpose.SIGN, Algorithm.ED25519),)
    assert dict(manifest_facts(manifest))["key documents"] == "sign, ed25519"
    assert parse("").keys == ()


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("algorithm", Algorithm)
def test_an_algorithm_serves_some_purposes(purpose: Purpose, algorithm: Algorithm) -> None:
    text = table("k", purpose, algorithm)
    if algorithm in ALGORITHMS[purpose]:
        assert parse(text).keys == (KeyRules("k", purpose, algorithm),)
    else:
        with pytest.raises(ManifestError, match=re.escape(f'for purpose = "{purpose}"')) as raised:
            parse(text)
        assert raised.value.key == "keys.k.algorithm"


@pytest.mark.parametrize("name", ['"K"', '"1k"', '"k-"', '"k--k"', '"../k"', '""', '"é"', f'"{"k" * 33}"'])
def test_names_are_short_and_plain(name: str) -> None:
    with pytest.raises(ManifestError, match="no name of a key"):
        parse(table(name, "sign", "ed25519"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[keys.k]\npurpose = "sign"\n', "keys.k.algorithm"),
        ('[keys.k]\nalgorithm = "ed25519"\n', "keys.k.purpose"),
        (table("k", "sign", "rsa"), "keys.k.algorithm"),
        (table("k", "everything", "ed25519"), "keys.k.purpose"),
        (table("k", "sign", "ed25519") + "size = 1\n", "keys.k.'size'"),
        ("[keys]\nk = 1\n", "keys.k"),
        ("".join(table(f"k{number}", "sign", "p256") for number in range(MAX_KEYS + 1)), "keys"),
    ],
)
def test_other_tables_are_refused(text: str, key: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse(text)
    assert raised.value.key == key


def test_keys_are_kept_in_the_state() -> None:
    without = re.sub(r"\[state\]\n(?:\w+ = .*\n)+", "", TEXT)
    assert without != TEXT
    with pytest.raises(ManifestError, match="a state") as raised:
        parse_manifest(without.encode(), FILES.get)
    assert raised.value.key == "keys"
    assert "add [state]" in raised.value.advice
