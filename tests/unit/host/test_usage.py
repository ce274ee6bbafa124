from casemate.host.usage import MAX_ENTRIES, MOST, EnclaveUsage
from casemate.wire.messages.entry import EntryUsage, Used


def used(entry: str, number: int = 1) -> EntryUsage:
    return EntryUsage(entry, number, number, number, number, number, number)


def test_reports_are_added_up_and_of_memory_the_largest_is_kept() -> None:
    usage = EnclaveUsage()
    usage.add(Used((used("main"), used("", 5))))
    usage.add(Used((used("main", 2),)))
    main, tls = usage.entries()
    assert main == EntryUsage("main", 3, 3, 3, 3, peak_mib=2, ocalls=3)
    assert tls == used("", 5)


def test_a_hostile_enclave_fills_no_memory_and_overflows_no_sum() -> None:
    usage = EnclaveUsage()
    for number in range(1000):
        usage.add(Used((used(f"entry-{number}"),)))
    assert len(usage.entries()) == MAX_ENTRIES
    for _ in range(2):
        usage.add(Used((used("entry-0", 2**64 - 1),)))
    assert usage.entries()[0].calls == MOST
