"""Malformed reports, OVMF files, launches and messages: typed errors, from the parsers and from the real processes."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.host.vm.launch_plan import plan_launch
from casemate.images.vm.builtin import firmware
from casemate.testing.firmware import make_ovmf
from casemate.testing.forge_snp import honest_snp
from casemate.testing.hostile.machine import launch_message
from casemate.testing.hostile.owner import policy_for
from casemate.testing.lone_vm import LoneVm
from casemate.verifier import RefusedError, SnpEndorsements, SnpEvidence, appraise_snp, explain_snp
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.hypervisor import (
    Done,
    HostLoad,
    HostStore,
    MapNested,
    MemoryIs,
    RmpIs,
    RmpRead,
    RmpUpdate,
    VcpuExit,
    Vmrun,
)
from casemate.wire.protocol.faults import Fault, FaultError
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import Section, SectionType

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HELLO = firmware("hello")
FORGED = honest_snp(NOW)
EVIDENCE, ENDORSEMENTS, ROOT = FORGED.sign()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with some changed, cut off, put in or repeated."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        piece = draw(st.binary(max_size=16))
        match draw(st.sampled_from(("change", "cut", "insert", "repeat"))):
            case "change":
                found[at : at + len(piece)] = piece
            case "cut":
                del found[at : at + draw(st.integers(1, 64))]
            case "insert":
                found[at:at] = piece
            case "repeat":
                found[at:at] = found[at : at + 64]
    return bytes(found)


@given(damaged(EVIDENCE.report) | st.binary(max_size=2000))
def test_a_damaged_report_is_refused_by_a_rule(report: bytes) -> None:
    _refused(SnpEvidence(report), ENDORSEMENTS, honest=SnpEvidence(report) == EVIDENCE)  # zeros behind it are padding


@given(
    damaged(ENDORSEMENTS.key_certificate) | st.binary(max_size=200),
    damaged(ENDORSEMENTS.chain) | st.just(ENDORSEMENTS.chain),
    st.none() | damaged(ENDORSEMENTS.revocation_list or b""),
)
def test_damaged_certificates_are_refused_by_a_rule(key: bytes, chain: bytes, revoked: bytes | None) -> None:
    _refused(EVIDENCE, SnpEndorsements(key, chain, revoked), honest=key == ENDORSEMENTS.key_certificate)


def _refused(evidence: SnpEvidence, endorsements: SnpEndorsements, *, honest: bool) -> None:
    report = FORGED.report
    policy = policy_for(ROOT, measurement=report.measurement, report_data=report.report_data)
    explain_snp(evidence, policy, endorsements, NOW)
    with suppress(RefusedError):
        appraise_snp(evidence, policy, endorsements, NOW)
        assert honest


ANY_U16, ANY_U32, ANY_U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
LAUNCHES: dict[str, st.SearchStrategy[Any]] = {
    "firmware": damaged(HELLO) | st.binary(max_size=5000),
    "memory_mib": ANY_U32,
    "vcpus": ANY_U16,
    "kernel": st.binary(max_size=64),
    "initrd": st.binary(max_size=64),
    "append": st.binary(max_size=64),
}
"""What the host itself looks at."""


@given(st.fixed_dictionaries({}, optional=LAUNCHES), st.sampled_from(VmMode))
def test_a_malformed_launch_is_a_typed_refusal_or_a_plan(changes: dict[str, Any], mode: VmMode) -> None:
    wanted = replace(launch_message("any", HELLO, mode), **changes)
    with suppress(WireError, FaultError):
        planned = plan_launch(wanted)
        assert len(list(planned.registers())) == wanted.vcpus
        assert all(planned.memory.spa(page.page.gpa) >= 0 for page in planned.before_registers())


@pytest.mark.parametrize("sections", [1, 60])
def test_sections_beyond_what_there_is_are_refused_before_they_are_laid_out(sections: int) -> None:
    wide = Section(0, 0x7FFF_0000, SectionType.SEC_MEMORY)
    image = make_ovmf(2, sections=(wide,) * sections, hash_table_gpa=None)
    with pytest.raises(FaultError, match="has no memory at GPA"):
        plan_launch(launch_message("wide", image, VmMode.SEV_SNP))


def test_sections_that_are_more_than_all_memory_together_are_refused() -> None:
    all_of_it = Section(0, 4 << 20, SectionType.SEC_MEMORY)
    image = make_ovmf(2, sections=(all_of_it,) * 60, hash_table_gpa=None)
    with pytest.raises(FaultError, match="more than there are"):
        plan_launch(launch_message("twice", image, VmMode.SEV))


ADDRESS = ANY_U64 | st.integers(0, 64).map(lambda page: page * 4096)
QUESTIONS = st.one_of(
    st.builds(RmpUpdate, ADDRESS, ANY_U32, st.booleans(), ADDRESS, st.booleans()),
    st.builds(MapNested, ADDRESS, st.none() | ADDRESS, ANY_U32),
    st.builds(HostStore, ADDRESS, st.binary(max_size=64)),
    st.builds(HostLoad, ADDRESS, ANY_U32),
    st.builds(RmpRead, ADDRESS, ANY_U32),
    st.builds(Vmrun, ADDRESS, st.integers(0, 100), st.integers(0, 5), st.none() | ANY_U64),
)


@pytest.mark.parametrize("mode", VmMode, ids=str)
def test_a_vms_process_answers_whatever_its_hypervisor_asks(mode: VmMode) -> None:
    with LoneVm(mode, memory=1 << 18) as vm:

        @given(QUESTIONS)
        def asks(question: object) -> None:
            vm.send(question)
            _, answer = vm.receive()
            parse_message(answer, Fault, Done, MemoryIs, RmpIs, VcpuExit)

        asks()
        assert vm.process.poll() is None


def test_a_vms_process_answers_damaged_questions() -> None:
    with LoneVm(VmMode.SEV, memory=1 << 18) as vm:

        @given(damaged(encode_message(HostStore(0, bytes(64)))) | st.binary(max_size=200))
        def asks(message: bytes) -> None:
            vm.send_raw(message, to_chip=False)
            _, answer = vm.receive()
            parse_message(answer, Fault, Done, MemoryIs, RmpIs, VcpuExit)

        asks()
        assert vm.process.poll() is None


@pytest.mark.parametrize("message", [b"", b"\xff" * 64, encode_message(Done())[:-1] + b"\x00", bytes(1000)])
def test_a_vms_process_whose_chip_talks_nonsense_ends_without_a_trace(
    message: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with LoneVm(VmMode.SEV, memory=1 << 18) as vm:
        vm.send_raw(message, to_chip=True)
        assert vm.process.wait(20) == 0
    assert "Traceback" not in capfd.readouterr().err
