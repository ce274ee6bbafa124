from datetime import UTC, datetime
from itertools import pairwise

from casemate.host.events import Events, MachineEvent
from casemate.host.machine_log import KEPT_EVENTS, KEPT_LINES, MachineLog
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.machine_log import MAX_ENTRIES, MAX_ENTRY, LogIs, LogSource

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def read_all(log: MachineLog) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    while entries := log.after(found[-1][0] if found else 0).entries:
        assert len(entries) <= MAX_ENTRIES
        found += [(entry.number, entry.text) for entry in entries]
    return found


def test_entries_have_numbers_times_and_sources() -> None:
    log = MachineLog(lambda: NOON)
    log.add(LogSource.CONSOLE, 7, "a line")
    log.add(LogSource.MACHINE, 0, "an event")
    said = log.after(0)
    assert [(each.number, each.source, each.enclave, each.text) for each in said.entries] == [
        (1, LogSource.CONSOLE, 7, "a line"),
        (2, LogSource.MACHINE, 0, "an event"),
    ]
    assert {each.at for each in said.entries} == {int(NOON.timestamp()) * 1000}
    assert log.after(1).entries == said.entries[1:]
    assert log.after(2).entries == ()


def test_a_function_that_prints_without_end_displaces_no_events() -> None:
    log = MachineLog()
    log.add(LogSource.ENCLAVE, 1, "the first")
    for at in range(KEPT_LINES + 100):
        log.add(LogSource.CONSOLE, 1, str(at))
    found = read_all(log)
    assert found[0] == (1, "the first")
    assert len(found) == KEPT_LINES + 1
    assert found[-1][1] == str(KEPT_LINES + 99)
    assert all(before < after for (before, _), (after, _) in pairwise(found))


def test_events_are_bounded_too() -> None:
    log = MachineLog()
    for at in range(KEPT_EVENTS + 1):
        log.add(LogSource.MACHINE, 0, str(at))
    assert len(read_all(log)) == KEPT_EVENTS


def test_the_longest_answer_can_be_sent() -> None:
    log = MachineLog()
    for _ in range(MAX_ENTRIES + 1):
        log.add(LogSource.CONSOLE, 1, "ä" * MAX_ENTRY)
    said = log.after(0)
    assert len(said.entries) == MAX_ENTRIES
    assert parse_message(encode_message(said), LogIs) == said
    assert said.entries[0].text == "ä" * (MAX_ENTRY // 2)


def test_text_that_is_no_unicode_is_kept_as_far_as_it_is() -> None:
    log = MachineLog()
    log.add(LogSource.CONSOLE, 1, "x\ud800y")
    assert encode_message(log.after(0))


def test_hosts_differ() -> None:
    assert MachineLog().after(0).host != MachineLog().after(0).host


def test_events_are_logged_in_words() -> None:
    events = Events()
    events.publish(MachineEvent("the chip ended with -9"))
    assert [(each.source, each.text) for each in events.log.after(0).entries] == [
        (LogSource.MACHINE, "the chip ended with -9")
    ]
