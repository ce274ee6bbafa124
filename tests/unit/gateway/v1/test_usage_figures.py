from prometheus_client import generate_latest

from casemate.gateway.v1.usage_figures import UsageFigures
from casemate.wire.messages.entry import EntryUsage


def test_what_calls_used_is_told_by_enclave_and_entry_point_in_seconds_and_bytes() -> None:
    main = EntryUsage("main", calls=7, cold=2, wall_ms=1500, cpu_ms=250, peak_mib=40, ocalls=3)
    tls = EntryUsage("", calls=1, cold=0, wall_ms=1, cpu_ms=0, peak_mib=0, ocalls=0)
    text = generate_latest(UsageFigures({3: (main,), 4: (tls,)})).decode()
    for line in (
        'casemate_calls_total{enclave="3",entry="main"} 7.0',
        'casemate_calls_cold_total{enclave="3",entry="main"} 2.0',
        'casemate_call_seconds_total{enclave="3",entry="main"} 1.5',
        'casemate_call_cpu_seconds_total{enclave="3",entry="main"} 0.25',
        'casemate_call_ocalls_total{enclave="3",entry="main"} 3.0',
        'casemate_guest_peak_bytes{enclave="3",entry="main"} 4.194304e+07',
        'casemate_calls_total{enclave="4",entry=""} 1.0',
    ):
        assert line in text.splitlines()


def test_a_hostile_enclaves_entry_point_stays_one_label() -> None:
    hostile = EntryUsage('x"} 1\ncasemate_forged 9', 1, 0, 0, 0, 0, 0)
    text = generate_latest(UsageFigures({3: (hostile,)})).decode()
    assert not [line for line in text.splitlines() if line.startswith("casemate_forged")]
