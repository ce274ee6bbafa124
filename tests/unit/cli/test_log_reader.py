from collections.abc import Callable

from casemate.cli.log_reader import MAX_PAGES, Console, LogReader, time_text
from casemate.host.machine_log import MachineLog
from casemate.wire.messages.machine_log import MAX_ENTRIES, LogEntry, LogIs, LogSource


def log_of(*texts: str, enclave: int = 1) -> MachineLog:
    log = MachineLog()
    for text in texts:
        log.add(LogSource.CONSOLE, enclave, text)
    return log


def texts(reader: LogReader, read: Callable[[int], LogIs]) -> list[str]:
    return [entry.text for entry in reader.new(read)]


def test_each_entry_is_read_once_however_many_there_are() -> None:
    log = log_of(*map(str, range(3 * MAX_ENTRIES)))
    reader = LogReader()
    assert texts(reader, log.after) == [str(at) for at in range(3 * MAX_ENTRIES)]
    assert texts(reader, log.after) == []
    log.add(LogSource.MACHINE, 0, "more")
    assert texts(reader, log.after) == ["more"]


def test_a_host_that_was_started_anew_is_read_from_its_beginning() -> None:
    logs = [log_of("a", "b", "c")]
    reader = LogReader()
    assert texts(reader, logs[-1].after) == ["a", "b", "c"]
    logs.append(log_of("d"))
    assert texts(reader, logs[-1].after) == ["d"]
    assert texts(reader, logs[-1].after) == []
    logs.append(log_of())
    assert texts(reader, logs[-1].after) == []
    logs[-1].add(LogSource.CONSOLE, 1, "e")
    assert texts(reader, logs[-1].after) == ["e"]


def test_a_host_that_always_has_more_is_read_for_a_while_only() -> None:
    asked: list[int] = []

    def endless(after: int) -> LogIs:
        asked.append(after)
        return LogIs(7, (LogEntry(after + 1, 0, LogSource.CONSOLE, 1, "x"),))

    assert len(texts(LogReader(), endless)) == MAX_PAGES
    assert asked == list(range(MAX_PAGES))


def test_a_console_takes_the_lines_of_its_enclave_alone() -> None:
    log = log_of("mine")
    log.add(LogSource.CONSOLE, 2, "another's")
    log.add(LogSource.ENCLAVE, 1, "an event")
    shown: list[str] = []
    console = Console(shown.append)
    console.take(LogReader().new(log.after), 1)
    assert shown == ["mine"]
    assert [line["text"] for line in console.document()] == ["mine"]


def test_times_have_milliseconds_and_a_zone() -> None:
    text = time_text(1_764_504_000_123)
    assert ".123" in text
    assert text[-6] in "+-"
