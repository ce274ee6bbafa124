"""The real process, with the real runtime copy and no enclaves."""

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.rigs.chip.process import PATIENCE, started

from casemate.chip.anchors import Anchors, Asker
from casemate.chip.fuses import load_fuses
from casemate.chip.runtime_digest import copy_name
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.images.layout import lay_out
from casemate.link.calls import answer_of
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import numbered
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.messages import chip
from casemate.wire.messages.supervisor import (
    AcceptRollback,
    AnchorGivenUp,
    AnchorsAre,
    AnchorShown,
    Certified,
    Certify,
    GiveUpAnchor,
    ListAnchors,
    MicrocodeIs,
    MicrocodeUpdate,
    PckChainIs,
    RenewCertificates,
    RollbackAccepted,
)
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH
from casemate.wire.sgx.sigstruct import Sigstruct

pytestmark = pytest.mark.machine
NEWER = bytes((9, 9, *FIRST_TCB.cpu_svn[2:]))


def test_says_what_it_is_when_it_is_ready(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        request = chip_process.certify()
        ready = chip_process.ready()
        assert ready.pid == chip_process.process.pid
        assert ready.platform.endswith(f"-cp{sys.version_info[0]}{sys.version_info[1]}")
        assert ready.ppid == request.ppid
        assert (ready.cpu_svn, ready.pce_svn) == (FIRST_TCB.cpu_svn, FIRST_TCB.pce_svn)
        assert not request.seeded


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_runs_on_the_verified_copy_itself(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        digest = copy_name(chip_process.ready().runtime)
        if os.geteuid() == 0:  # it is not dumpable, so root alone may look
            assert f"/{digest}/bin/python3" in str(Path(f"/proc/{chip_process.process.pid}/exe").readlink())
        command = Path(f"/proc/{chip_process.process.pid}/cmdline").read_bytes().decode()
        assert f"/{digest}/bin/python3" in command


def test_what_it_writes_is_its_owners_alone(tmp_path: Path) -> None:
    with started(tmp_path / "machine") as chip_process:
        chip_process.certify()
        chip_process.ready()
        folder = tmp_path / "machine" / "chip"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert {"fuses.bin", "anchors.log", "inventory", "pck.pem", "lock"} == set(modes)
        assert set(modes.values()) == {0o600}


def test_restart_asks_for_no_certificate_and_is_the_same_chip(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        ppid = chip_process.certify().ppid
        chip_process.ready()
    with started(tmp_path) as chip_process:
        assert chip_process.ready().ppid == ppid


def test_seed_makes_the_same_chip_everywhere(tmp_path: Path) -> None:
    requests = []
    for folder in ("a", "b"):
        with started(tmp_path / folder, "--seed", "a public text") as chip_process:
            requests.append(chip_process.certify())
    assert requests[0] == requests[1]
    assert requests[0].seeded


def pck_chain(public_key: bytes, not_after: datetime) -> bytes:
    """A certificate for a PCK, by nobody in particular."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "PCK")])
    builder = x509.CertificateBuilder(name, name, key, 1, not_after - timedelta(days=90), not_after)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return encode_chain(signed.public_bytes(Encoding.DER))


def test_expired_certificate_is_renewed_at_the_start_and_stays_where_the_maker_refuses(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    kept = tmp_path / "chip" / "pck.pem"
    with started(tmp_path) as chip_process:
        request = chip_process.heard()
        assert isinstance(request, Certify)
        old = pck_chain(request.public_key, now - timedelta(days=1))
        chip_process.supervisor.send(encode_message(Certified(old)))
        chip_process.ready()
    with started(tmp_path) as chip_process:
        assert chip_process.heard() == request
        chip_process.supervisor.send(encode_message(fault(Code.UNAVAILABLE, "it was revoked")))
        chip_process.ready()
        assert kept.read_bytes() == old
    with started(tmp_path) as chip_process:
        assert chip_process.heard() == request
        new = pck_chain(request.public_key, now + timedelta(days=30))
        chip_process.supervisor.send(encode_message(Certified(new)))
        chip_process.ready()
        assert kept.read_bytes() == new
        root = hashlib.sha256(parse_chain("chain", new)[-1].der).digest()
        told = chip_process.ask(RenewCertificates(root, owner=True), PckChainIs)
        assert told == PckChainIs(
            root, int((now - timedelta(days=60)).timestamp()), int((now + timedelta(days=30)).timestamp())
        )


def test_second_chip_is_told_who_is_there_first(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        first.certify()
        first.ready()
        with started(tmp_path) as second:
            said = second.heard()
            assert isinstance(said, Fault)
            assert said.code is Code.UNAVAILABLE
            assert f"process id {first.process.pid}" in said.reason
            assert second.ended() == 1


def test_damaged_fuses_are_a_fault_with_a_remedy(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
    fuses = tmp_path / "chip" / "fuses.bin"
    fuses.write_bytes(fuses.read_bytes()[:-1])
    with started(tmp_path) as chip_process:
        said = chip_process.heard()
        assert isinstance(said, Fault)
        assert "is damaged: restore" in said.reason
        assert chip_process.ended() == 1


def test_refusal_to_certify_is_the_end(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.heard()
        chip_process.supervisor.send(encode_message(Fault(Code.UNAVAILABLE, "no maker today")))
        said = chip_process.heard()
        assert isinstance(said, Fault)
        assert "no maker today" in said.reason
        assert chip_process.ended() == 1


def test_ends_when_the_supervisors_link_closes(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        chip_process.supervisor.close()
        assert chip_process.ended() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """The descriptors stay open in this test, so that the supervisor's death alone can be the cause."""
    code = (
        "import os, subprocess, sys, time\n"
        "made = subprocess.Popen(sys.argv[1:], pass_fds=(int(sys.argv[-1]), int(sys.argv[-3])))\n"
        "print(made.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    host, for_host = socket.socketpair()
    supervisor, for_supervisor = socket.socketpair()
    with host, for_host, supervisor, for_supervisor:
        pair = (for_host.fileno(), for_supervisor.fileno())
        command = [sys.executable, "-I", "-m", "casemate.chip", "--state", str(tmp_path)]
        ends = ["--host-fd", str(pair[0]), "--supervisor-fd", str(pair[1])]
        parent = subprocess.Popen(
            [sys.executable, "-c", code, *command, *ends], pass_fds=pair, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        Channel(supervisor).receive(timeout=PATIENCE)
        parent.kill()
        parent.communicate()
        for _ in range(500):
            if not _runs(pid):
                return
            signal.sigtimedwait([], 0.01)
        pytest.fail("the chip outlived its supervisor")


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        chip_process.process.terminate()
        assert chip_process.ended() == 0


def test_host_that_goes_ends_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        chip_process.host.send(b"\x01")  # not even numbered
        with pytest.raises(PeerGoneError):
            chip_process.host.receive(timeout=PATIENCE)
        chip_process.supervisor.send(encode_message(MicrocodeUpdate(FIRST_TCB.cpu_svn, FIRST_TCB.pce_svn)))
        assert chip_process.heard() == MicrocodeIs(FIRST_TCB.cpu_svn, FIRST_TCB.pce_svn)


def test_microcode_update_is_certified_and_stays(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        first = chip_process.certify()
        chip_process.ready()
        chip_process.supervisor.send(encode_message(MicrocodeUpdate(NEWER, 14)))
        second = chip_process.certify()
        assert chip_process.heard() == MicrocodeIs(NEWER, 14)
        assert (second.cpu_svn, second.pce_svn, second.ppid) == (NEWER, 14, first.ppid)
        assert second.public_key != first.public_key
        chip_process.supervisor.send(encode_message(MicrocodeUpdate(FIRST_TCB.cpu_svn, 13)))
        refusal = chip_process.heard()
        assert isinstance(refusal, Fault)
        assert "SGX_NO_UPDATE" in refusal.reason
    with started(tmp_path) as chip_process:
        assert chip_process.ready().cpu_svn == NEWER


def test_update_that_is_not_certified_is_asked_for_again(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        chip_process.supervisor.send(encode_message(MicrocodeUpdate(NEWER, 13)))
        assert isinstance(chip_process.heard(), Certify)
        chip_process.supervisor.send(encode_message(Fault(Code.TIMED_OUT, "the maker slept")))
        refusal = chip_process.heard()
        assert isinstance(refusal, Fault)
        assert "slept" in refusal.reason
        chip_process.supervisor.send(encode_message(MicrocodeUpdate(NEWER, 13)))
        chip_process.certify()
        assert chip_process.heard() == MicrocodeIs(NEWER, 13)


def test_serves_its_host(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        chip_process.host.send((1).to_bytes(4, "little") + encode_message(chip.QuoteTarget()))
        answer = chip_process.host.receive(timeout=PATIENCE).payload
        assert len(parse_message(answer[4:], chip.QuoteTargetIs).target_info) == 512


@pytest.mark.parametrize(
    "arguments",
    [
        ("--layer", "seccomp"),
        ("--layer", "moat=require"),
        ("--layer", "seccomp=maybe"),
        ("--pool", "-1"),
        ("--pool", "1000"),
        ("--unknown",),
    ],
)
def test_wrong_command_line_is_status_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with started(tmp_path, *arguments) as chip_process:
        assert chip_process.ended() == 2
    assert not (tmp_path / "chip").exists()


def test_imports_no_room_but_its_own(tmp_path: Path) -> None:
    code = (
        "import sys; import casemate.chip.machine, casemate.chip.first_stage, casemate.chip.runtime_copy\n"
        "print(*sorted({m.split('.')[1] for m in sys.modules if m.startswith('casemate.')}))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["chip", "link", "process", "wire"]


def test_has_no_general_parser_at_hand(tmp_path: Path) -> None:
    """What reads strangers' bytes here are fixed layouts; documents are read by processes that can be done without."""
    code = (
        "import sys; import casemate.chip.machine, casemate.chip.snp.commands, casemate.chip.snp.certification\n"
        "print(*{'tomllib', 'jsonschema_rs', 'casemate.wire.encodings.toml_text', 'casemate.wire.encodings.cbor'} "
        "& set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == []


def test_runtime_digest_is_told_without_a_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-m", "casemate.chip", "runtime-digest"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    said = json.loads(done.stdout)
    assert set(said) == {"platform", "runtime", "copy", "core_groups", "common"}
    with started(tmp_path) as chip_process:
        chip_process.certify()
        ready = chip_process.ready()
        digests = {part.component: part.digest.hex() for part in ready.runtime}
        assert said["platform"] == ready.platform
        assert said["runtime"] == digests
        assert Path(said["copy"]).name == copy_name(ready.runtime)
        assert set(digests) == {"core", "javascript", "python"}
    assert list(tmp_path.iterdir()) == [tmp_path / "chip"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_hostile_host_makes_it_read_no_lock_that_costs(tmp_path: Path, sign: Callable[..., Sigstruct]) -> None:
    """What a host's own check would have refused; the lock is a key that a parser of TOML needs a gigabyte for."""

    def peak_mib(pid: int) -> float:
        return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:", 1)[1].split(None, 1)[0]) / 1024

    lock = b"a." * 16_000 + b"a=1"
    stream = lay_out({LOCK_PATH: lock, MANIFEST_PATH: b"x"}, (), engine="javascript").encode()
    sigstruct = sign(enclave_hash=hashlib.sha256(stream).digest()).encode()
    with started(tmp_path) as chip_process:
        chip_process.certify()
        pid = chip_process.ready().pid
        for number in range(1, 17):
            chip_process.host.send(numbered(number, chip.Load(stream)))
        loaded = [answer_of(chip_process.answer(), chip.Loaded).enclave for _ in range(16)]
        before = peak_mib(pid)
        for enclave in loaded:
            chip_process.host.send(numbered(enclave, chip.Initialise(enclave, sigstruct)))
        for _ in loaded:
            with pytest.raises(FaultError, match=r"launch-refused: runtime-lock: .*not a runtime lock"):
                answer_of(chip_process.answer(), chip.Initialised)
        assert peak_mib(pid) - before < 16


def test_owners_acceptance_of_a_rollback_is_logged_first(tmp_path: Path) -> None:
    name = bytes([7]) * 32
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        assert chip_process.ask(AcceptRollback(name, "no such state"), Fault).code is Code.STATE_REFUSED
        assert chip_process.ask(ListAnchors(), AnchorsAre) == AnchorsAre(())
        assert not (tmp_path / "chip" / "audit.log").exists()
    anchors = Anchors(tmp_path / "chip", load_fuses(tmp_path / "chip", None))
    anchors.advance(Asker(name, bytes(32), 2), epoch=0, head=b"h" * 32)
    anchors.close()
    with started(tmp_path) as chip_process:
        chip_process.ready()
        assert chip_process.ask(AcceptRollback(name, "a \u201cdisk\u201d died\n"), RollbackAccepted).epoch == 1
        shown = AnchorShown(name, 1, 2, 0, is_forgiven=True)
        assert chip_process.ask(ListAnchors(), AnchorsAre) == AnchorsAre((shown,))
        log = tmp_path / "chip" / "audit.log"
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        (line,) = map(json.loads, log.read_text().splitlines())
        assert datetime.now(UTC) - datetime.fromisoformat(line.pop("at")) < timedelta(minutes=1)
        assert line == {
            "uid": os.getuid(), "what": "rollback accepted", "details": "a \u201cdisk\u201d died\n",
            "namespace": name.hex(), "epoch": 1,
        }  # fmt: skip


def test_owner_gives_up_an_anchor_which_is_logged_first(tmp_path: Path) -> None:
    name, other = bytes([7]) * 32, bytes([8]) * 32
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
        assert chip_process.ask(GiveUpAnchor(name, "no such state"), Fault).code is Code.STATE_REFUSED
    anchors = Anchors(tmp_path / "chip", load_fuses(tmp_path / "chip", None))
    for namespace in (name, other):
        anchors.advance(Asker(namespace, bytes(32), 2), epoch=0, head=b"h" * 32)
    anchors.close()
    with started(tmp_path) as chip_process:
        chip_process.ready()
        assert chip_process.ask(GiveUpAnchor(name, "not used"), AnchorGivenUp).epoch == 2
        assert chip_process.ask(GiveUpAnchor(name, "again"), Fault).code is Code.STATE_REFUSED
        assert [each.namespace for each in chip_process.ask(ListAnchors(), AnchorsAre).anchors] == [other]
        (line,) = map(json.loads, (tmp_path / "chip" / "audit.log").read_text().splitlines())
        line.pop("at")
        assert {"what": "anchor given up", "namespace": name.hex(), "epoch": 1}.items() <= line.items()
        assert line["details"] == "not used"


def test_chip_that_has_lost_its_anchors_does_not_start_until_that_is_accepted(tmp_path: Path) -> None:
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
    (tmp_path / "chip" / "anchors.log").unlink()
    with started(tmp_path) as chip_process:
        said = parse_message(chip_process.supervisor.receive(timeout=PATIENCE).payload, Fault)
        assert "anchors.log" in said.reason
        assert "casemate up --accept-loss REASON" in said.reason
    with started(tmp_path, "--accept-loss", "the disk died") as chip_process:
        chip_process.ready()
        (line,) = map(json.loads, (tmp_path / "chip" / "audit.log").read_text().splitlines())
        assert (line["what"], line["generation"]) == ("anchors begun anew", 1)
        assert "the disk died" in line["details"]


def test_what_cannot_be_logged_is_not_accepted(tmp_path: Path) -> None:
    name = bytes([7]) * 32
    with started(tmp_path) as chip_process:
        chip_process.certify()
        chip_process.ready()
    anchors = Anchors(tmp_path / "chip", load_fuses(tmp_path / "chip", None))
    anchors.advance(Asker(name, bytes(32), 2), epoch=0, head=b"h" * 32)
    anchors.close()
    (tmp_path / "chip" / "audit.log").mkdir()
    with started(tmp_path) as chip_process:
        chip_process.ready()
        assert chip_process.ask(AcceptRollback(name, "why not"), Fault).code is Code.UNAVAILABLE
        assert not chip_process.ask(ListAnchors(), AnchorsAre).anchors[0].is_forgiven
