from datetime import UTC, datetime
from pathlib import Path

from tests.rigs.command_line import FAKE_RUNTIME, Casemate

from casemate.cli.developer_key_file import load_key
from casemate.cli.learner_image import assembled_guests, installed_learner_image, put_guests, put_learner_image
from casemate.images.image import read_image
from casemate.images.lock import this_platform
from casemate.images.vm.builtin import GUESTS, firmware
from casemate.testing.forge import honest as honest_platform
from casemate.wire.protocol.runtime_lock import RuntimePart

PLATFORM = "linux-x86_64-cp311"


def put(state: Path, digest: bytes) -> Path:
    put_learner_image(
        state, platform=PLATFORM, runtime=(RuntimePart("core", digest), RuntimePart("javascript", digest))
    )
    put_guests(state, assembled_guests())
    return state / "host" / "learner"


def test_puts_the_image_where_the_gateway_looks_and_keeps_the_key_from_the_host(tmp_path: Path) -> None:
    place = put(tmp_path, bytes(32))
    image = read_image(place)
    assert sorted(file.name for file in place.iterdir()) == ["learner.sgxs", "learner.sigstruct", "runtime"]
    load_key(tmp_path / "learner.pem")  # with the mode of a secret
    assert image.parse_sigstruct().enclave_hash == image.mr_enclave


def test_puts_the_guests_beside_it_and_mends_what_a_host_has_done_to_them(tmp_path: Path) -> None:
    guests = put(tmp_path, bytes(32)).parent / "guests"
    assert {file.name: file.read_bytes() for file in guests.iterdir()} == {
        f"{name}.fd": firmware(name) for name in GUESTS
    }
    (guests / "report.fd").write_bytes(b"another")
    (guests / "more.fd").symlink_to("/etc/passwd")
    put(tmp_path, bytes(32))
    assert (guests / "report.fd").read_bytes() == firmware("report")
    assert len(list(guests.iterdir())) == len(GUESTS)


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    place = put(tmp_path, bytes(32))
    before = (place / "learner.sgxs").stat().st_mtime_ns
    put(tmp_path, bytes(32))
    assert (place / "learner.sgxs").stat().st_mtime_ns == before


def test_another_runtime_gets_another_image_of_the_same_signer(tmp_path: Path) -> None:
    first = read_image(put(tmp_path, bytes(32))).parse_sigstruct()
    second = read_image(put(tmp_path, bytes([1]) * 32)).parse_sigstruct()
    assert first.enclave_hash != second.enclave_hash
    assert first.mr_signer() == second.mr_signer()


def test_a_draft_that_was_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "host" / "learner.new" / "learner.sgxs").mkdir(parents=True)
    assert read_image(put(tmp_path, bytes(32))).name == "learner"


def test_a_policy_for_it_does_not_look_at_what_the_host_has(casemate: Casemate, tmp_path: Path) -> None:
    """The host's folder is the host's: who takes a reference value from there verifies the host by its own word."""
    state = tmp_path / "state" / "casemate"
    state.mkdir(parents=True, mode=0o700)
    put_learner_image(state, platform=this_platform(), runtime=FAKE_RUNTIME)
    honest = read_image(state / "host" / "learner").mr_enclave
    other = (RuntimePart("core", bytes(32)), *FAKE_RUNTIME[1:])
    put_learner_image(state, platform=this_platform(), runtime=other)  # another image, in its place
    assert installed_learner_image().mr_enclave == honest
    (tmp_path / "root.der").write_bytes(honest_platform(datetime.now(UTC)).sign().root)
    made = casemate("policy", "--learner", "--root", tmp_path / "root.der", "--json").json
    assert made["mr_enclave"] == honest.hex()
    assert honest.hex() in made["policy"]
    for words in ((), ("--learner", state / "host" / "learner" / "learner.sgxs")):
        assert casemate("policy", *words, "--root", tmp_path / "root.der").code == 2
