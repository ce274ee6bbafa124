import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.manifest_cases import FILES, PYTHON, REFUSED, TEXT, TOLD

from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import (
    ANYONE,
    Engine,
    Limits,
    Manifest,
    Monitored,
    MonitorRule,
    Permission,
    Reaction,
)
from casemate.wire.protocol.manifest_table import ManifestError, UnknownKeyError
from casemate.wire.protocol.manifest_text import parse_manifest


def _parse(text: str) -> Manifest:
    return parse_manifest(text.encode(), FILES.get)


def test_the_documented_example_is_what_it_seems() -> None:
    manifest = _parse(TEXT)
    assert (manifest.name, manifest.product_id, manifest.security_version) == ("keyword-search", 1, 1)
    assert (manifest.debug, manifest.engine, manifest.main) == (False, Engine.JAVASCRIPT, "guest/main.js")
    assert manifest.isolation is Isolation.CALLER
    assert manifest.limits == Limits(memory_mib=64, time_ms=2000, output_kib=256, concurrent=8, guests=4)
    assert [caller.name for caller in manifest.callers] == ["alice"]
    assert manifest.entry("search") is not None
    assert manifest.ocall("time") is not None
    assert manifest.entry("now") is None
    assert manifest.ocall("search") is None
    assert manifest.caller(bytes(32)) is None
    assert manifest.caller(manifest.callers[0].public_key) is manifest.callers[0]


def test_named_callers_alone_are_admitted() -> None:
    entry = _parse(TEXT).entries[0]
    assert entry.callers is not ANYONE
    assert entry.admits(entry.callers[0].public_key)
    assert not entry.admits(bytes(32))
    assert not entry.admits(None)


def test_ra_tls_is_off_unless_it_is_written_out() -> None:
    assert _parse(TEXT).ra_tls
    without = TEXT.replace("[ra_tls]\nenabled = true\n", "")
    assert not _parse(without).ra_tls
    assert not _parse(f"{without}\n[ra_tls]\nenabled = false\n").ra_tls
    for wrong in (
        "[ra_tls]\n",
        '[ra_tls]\nenabled = "yes"\n',
        "[ra_tls]\nenabled = true\nport = 8443\n",
        "ra_tls = true\n",
    ):
        with pytest.raises(ManifestError, match="ra_tls"):
            _parse(f"{wrong}{without}" if wrong.startswith("ra_tls") else f"{without}\n{wrong}")


def _running(isolation: str = "", limits: str = "", *, memory_mib: int = 64) -> Manifest:
    """The example with these lines for how its guests run."""
    text = TEXT.replace('isolation = "caller"\n', isolation).replace("concurrent = 8\nguests = 4\n", limits)
    return _parse(text.replace("memory_mib = 64", f"memory_mib = {memory_mib}"))


@pytest.mark.parametrize(
    ("written", "isolation", "concurrent", "guests"),
    [
        ("", Isolation.CALLER, 8, 4),
        ('isolation = "caller"\n', Isolation.CALLER, 8, 4),
        ('isolation = "call"\n', Isolation.CALL, 8, 4),
        ('isolation = "shared"\n', Isolation.SHARED, 1, 1),
    ],
)
def test_guests_are_not_shared_unless_it_is_written_out(
    written: str, isolation: Isolation, concurrent: int, guests: int
) -> None:
    manifest = _running(written)
    assert manifest.isolation is isolation
    assert (manifest.limits.concurrent, manifest.limits.guests) == (concurrent, guests)


@pytest.mark.parametrize(("concurrent", "guests"), [(1, 64), (64, 1), (8, 9), (1, 1)])
def test_calls_and_guests_at_once_do_not_depend_on_each_other(concurrent: int, guests: int) -> None:
    limits = _running(limits=f"concurrent = {concurrent}\nguests = {guests}\n").limits
    assert (limits.concurrent, limits.guests) == (concurrent, guests)


@pytest.mark.parametrize("name", ["concurrent", "guests"])
def test_a_shared_guest_is_alone_and_serves_one_call_at_a_time(name: str) -> None:
    shared = 'isolation = "shared"\n'
    assert getattr(_running(shared, f"{name} = 1\n").limits, name) == 1
    with pytest.raises(ManifestError, match=rf"limits\.{name} is 2, want 1, or the key left out: with isolation"):
        _running(shared, f"{name} = 2\n")


@pytest.mark.parametrize(("memory_mib", "most"), [(64, 64), (65, 63), (1024, 4)])
def test_all_guests_together_may_have_four_gib(memory_mib: int, most: int) -> None:
    assert _running(limits=f"guests = {most}\n", memory_mib=memory_mib).limits.guests == most
    with pytest.raises(ManifestError, match=rf"limits\.guests is {most + 1}, want .*{most}"):
        _running(limits=f"guests = {most + 1}\n", memory_mib=memory_mib)


def test_every_memory_may_have_the_guests_that_a_manifest_has_which_names_none() -> None:
    assert _running(memory_mib=1024).limits.guests == 4


def test_anyone_is_written_out() -> None:
    entry = _parse(TEXT.replace('callers = ["alice"]', 'callers = "anyone"')).entries[0]
    assert entry.callers is ANYONE
    assert entry.admits(None)
    assert entry.admits(bytes(32))


@pytest.mark.parametrize(("old", "new", "key"), REFUSED)
def test_refuses_and_names_the_key(old: str, new: str, key: str) -> None:
    assert old in TEXT
    with pytest.raises(ManifestError, match=rf"^casemate\.toml: {key}.* is "):
        _parse(TEXT.replace(old, new, 1))


def test_what_no_table_grants_is_granted_by_name_and_by_nothing_else() -> None:
    assert _parse(TEXT).permissions == {Permission.SEAL, Permission.LOG}
    for nothing in ("", "permissions = []\n"):
        assert _parse(TEXT.replace('permissions = ["seal", "log"]\n', nothing)).permissions == frozenset()


def test_a_python_manifest_grants_what_python_code_cannot_be_kept_from() -> None:
    manifest = _parse(PYTHON)
    assert manifest.engine is Engine.PYTHON
    assert manifest.main == "guest/main.py"
    assert manifest.permissions == {Permission.RANDOM, Permission.NOW}


@pytest.mark.parametrize(
    ("written", "got", "line"),
    [
        ("", "not there", '["random", "now"]'),
        ("permissions = []\n", "not there", '["random", "now"]'),
        ('permissions = ["now"]\n', r'\["now"\]', '["random", "now"]'),
        ('permissions = ["log", "random", "seal"]\n', r".*", '["seal", "log", "random", "now"]'),
    ],
)
def test_a_python_manifest_that_grants_less_is_told_the_line_to_write(written: str, got: str, line: str) -> None:
    words = re.escape(f"permissions = {line}: Python code can be kept from neither")
    with pytest.raises(ManifestError, match=rf"^casemate\.toml: enclave\.permissions is {got}, want {words}$"):
        _parse(PYTHON.replace('permissions = ["random", "now"]\n', written))


@pytest.mark.parametrize(("old", "new", "words"), TOLD)
def test_a_bad_value_is_told_what_was_wanted(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ManifestError) as caught:
        _parse(TEXT.replace(old, new, 1))
    assert words in str(caught.value)


@pytest.mark.parametrize("main", ["guest/main.js", "guest/main.pyc", "main.py", "guest/none.py"])
def test_the_main_module_of_a_python_manifest_is_a_python_file(main: str) -> None:
    with pytest.raises(ManifestError, match=r"enclave\.main is .*, want a (Python )?file"):
        _parse(PYTHON.replace("guest/main.py", main))


def test_errors_are_declared_by_their_words_or_by_a_table() -> None:
    spent, not_yet = _parse(TEXT).errors
    assert (spent.name, spent.reason, spent.details) == (
        "budget-spent",
        "The budget of this period is used up.",
        None,
    )
    assert (not_yet.name, not_yet.reason) == ("not-yet", "The auction is still open.")
    assert not_yet.details is not None
    assert not_yet.details.document == {"type": "object"}
    plain = TEXT.replace(', details = "schemas/not-yet.json"', "")
    assert _parse(plain).errors[1].details is None
    assert _parse(plain).error("not-yet") == _parse(plain).errors[1]
    assert _parse(plain).error("nope") is None


def test_refuses_more_errors_than_anybody_audits() -> None:
    many = "\n".join(f'error-{number} = "Words."' for number in range(63))
    with pytest.raises(ManifestError, match="errors is 65 of them, want at most 64"):
        _parse(TEXT.replace("[errors]", f"[errors]\n{many}"))


def test_receipts_of_inner_calls_are_handed_on_where_that_is_written_out() -> None:
    assert not _parse(TEXT).receipt_inner
    assert _parse(TEXT.replace("metrics = true\n", "inner = true\n")).receipt_inner


def test_receipts_say_what_a_call_used_where_that_is_written_out() -> None:
    assert _parse(TEXT).receipt_metrics
    for without in ("metrics = false\n", ""):
        assert not _parse(TEXT.replace("metrics = true\n", without)).receipt_metrics
    assert not _parse(TEXT.replace("[receipt]\nmetrics = true\n", "")).receipt_metrics


def test_the_monitors_rules_are_in_the_order_of_what_is_counted() -> None:
    text = TEXT + '\n[monitor.deaths]\nmost = 3\nthen = "stop"\n\n[monitor.cpu_ms]\nmost = 1\nthen = "warn"\n'
    assert _parse(text).monitor == (
        MonitorRule(Monitored.OCALLS, 600, Reaction.SLOW),
        MonitorRule(Monitored.CPU_MS, 1, Reaction.WARN),
        MonitorRule(Monitored.DEATHS, 3, Reaction.STOP),
    )
    assert _parse(TEXT[: TEXT.index("[monitor.")]).monitor == ()


def test_an_unknown_key_says_which_keys_the_table_may_have() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        _parse(TEXT.replace("time_ms", f'"{"t" * 10_000}"'))
    assert caught.value.name == "t" * 80
    assert caught.value.known == ("memory_mib", "time_ms", "output_kib", "concurrent", "guests")
    assert len(str(caught.value)) < 300


def test_refuses_more_functions_than_anybody_audits() -> None:
    many = "\n".join(f'[ocall.f{number}]\ninput = {{ type = "null" }}\noutput = {{}}' for number in range(65))
    with pytest.raises(ManifestError, match="65 of them"):
        _parse(f"{TEXT.split('[ocall.time]', maxsplit=1)[0]}\n{many}")


def test_refuses_a_manifest_without_entry_points() -> None:
    with pytest.raises(ManifestError, match=r"entry is empty"):
        _parse(re.sub(r"(?s)\[entry\.search\].*?\n\n", "[entry]\n", TEXT))


def test_refuses_bytes_that_are_no_text() -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        parse_manifest(b"\xff", FILES.get)


WORDS = st.sampled_from(
    [*re.findall(r"\w+|\W", TEXT), "9" * 20, "nan", "true", "shared", "{}", "[[", "'''", "1979-05-27", "\n", "é"]
)


@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 9), WORDS), min_size=1, max_size=4))
def test_a_changed_manifest_is_a_manifest_or_a_manifest_error(changes: list[tuple[int, int, str]]) -> None:
    text = TEXT
    for at, cut, word in changes:
        text = text[:at] + word + text[at + cut :]
    try:
        manifest = _parse(text)
    except ManifestError:
        return
    assert manifest.entries
    assert 0 <= manifest.product_id <= 0xFFFF
    limits = manifest.limits
    assert 1 <= limits.guests <= 4096 // limits.memory_mib
    assert manifest.isolation is not Isolation.SHARED or limits.guests == limits.concurrent == 1


@given(st.binary(max_size=200))
def test_random_bytes_are_a_manifest_error(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data, FILES.get)


def test_refuses_more_schemas_than_an_enclave_should_compile() -> None:
    files = {**FILES, "schemas/large.json": b'{"type": "null"}' + b" " * 200_000}
    many = "".join(f'[ocall.f{at}]\ninput = "schemas/large.json"\noutput = {{}}\n' for at in range(6))
    with pytest.raises(ManifestError, match="the schemas is more than 1048576 bytes"):
        parse_manifest(f"{TEXT}\n{many}".encode(), files.get)


def test_no_more_enclaves_may_call_than_anybody_audits() -> None:
    one = '"{name}" = {{ enclave = {{ mrenclave = "{digest}" }} }}\n'
    table = "".join(one.format(name=f"enclave-{number}", digest="ab" * 32) for number in range(65))
    with pytest.raises(ManifestError, match=r"callers is 66 enclaves, want at most 64"):
        _parse(TEXT.replace("shop = {", f"{table}shop = {{"))
