"""The commands against a gateway, which here is one of threads in front of a forged platform."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.channel.rig import ALICE, MR_ENCLAVE
from tests.rigs.client.desk import Desk
from tests.rigs.client.doubling import DOUBLES, doubles
from tests.rigs.client.web import TOKEN, Gateway, Request, Web
from tests.rigs.command_line import FAKE_RUNTIME, Casemate

from casemate.client.caller_keys import write_caller_key
from casemate.images.functions.build import build
from casemate.images.image import write_image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import write_lock
from casemate.verifier import print_policy
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.protocol.runtime_lock import RuntimeLock


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk(script=doubles, manifest=DOUBLES) as found:
        yield found


@pytest.fixture
def web(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.delenv("CASEMATE_CA", raising=False)
    with Web(Gateway(desk)) as found:
        monkeypatch.setenv("CASEMATE_URL", found.url)
        monkeypatch.setenv("CASEMATE_TOKEN", TOKEN)
        yield found


@pytest.fixture
def policy(desk: Desk, tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(print_policy(desk.policy))
    return path


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "input.json"
    path.write_bytes(b'{"n":7}')
    return path


def test_the_url_may_stand_before_and_behind_the_command_and_in_the_environment(casemate: Casemate, web: Web) -> None:
    behind = casemate("ps", "--url", web.url, "--json").json
    assert behind["enclaves"][0]["mr_enclave"] == MR_ENCLAVE.hex()
    assert casemate("--url", web.url, "ps", "--json").json == behind
    assert casemate("ps", "--json").json == behind


def test_what_stands_nearer_wins(casemate: Casemate, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    assert casemate("--url", "http://127.0.0.1:1", "ps", "--url", web.url).code == 0
    monkeypatch.setenv("CASEMATE_URL", "http://127.0.0.1:1")
    assert casemate("ps", "--url", web.url, "--token-file", tmp_path / "token").code == 0
    here = casemate("ps", "--state", tmp_path / "none", "--json")
    assert here.error["kind"] == "NoMachineError"
    both = casemate("--url", web.url, "ps", "--state", tmp_path)
    assert both.code == 2
    assert "not both" in both.err


@pytest.mark.parametrize("exported", [None, "", "http://127.0.0.1:1", "https://{0}", "http://{0}/other", "{0}"])
def test_the_environments_token_goes_to_the_environments_gateway_alone(
    casemate: Casemate, web: Web, exported: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if exported is None:
        monkeypatch.delenv("CASEMATE_URL")
    else:
        monkeypatch.setenv("CASEMATE_URL", exported.format(web.url.removeprefix("http://")))
    before = len(web.requests)
    for arguments in (("--url", web.url, "ps"), ("stop", "1", "--url", web.url), ("ps", "--url", web.url)):
        refused = casemate(*arguments, "--json")
        assert refused.code == 5
        wanted = "AddressError" if exported == "{0}" else "TokenElsewhereError"
        assert refused.error["kind"] == wanted
        assert TOKEN not in refused.out + refused.err
    assert len(web.requests) == before
    if exported != "{0}":  # the advice, followed
        assert "--token-file FILE" in casemate("ps", "--url", web.url, "--json").error["next"]
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "token").chmod(0o600)
        assert casemate("ps", "--url", web.url, "--token-file", tmp_path / "token").code == 0


def test_one_gateway_may_be_written_in_two_ways(casemate: Casemate, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEMATE_URL", web.url.replace("http", "HTTP") + "/")
    assert casemate("ps", "--url", web.url).code == 0


def test_the_token_may_be_in_a_file(
    casemate: Casemate, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CASEMATE_TOKEN")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    assert casemate("ps", "--url", web.url, "--token-file", tmp_path / "token").code == 0
    assert casemate("--url", web.url, "--token-file", tmp_path / "token", "ps").code == 0
    (tmp_path / "token").write_bytes(b"\xff")
    (tmp_path / "token").chmod(0o600)
    assert casemate("ps", "--url", web.url, "--token-file", tmp_path / "token").code == 5
    assert casemate("ps", "--url", web.url, "--token-file", tmp_path / "none").code == 5
    monkeypatch.delenv("CASEMATE_URL")
    without_url = casemate("ps", "--token-file", tmp_path / "token")
    assert without_url.code == 2


@pytest.mark.parametrize(("token", "words"), [(None, "token-wanted"), ("casemate_" + "x" * 43, "token-unknown")])
def test_a_token_that_is_missing_or_refused_is_said_and_what_to_do(
    casemate: Casemate, web: Web, monkeypatch: pytest.MonkeyPatch, token: str | None, words: str
) -> None:
    monkeypatch.delenv("CASEMATE_TOKEN")
    if token is not None:
        monkeypatch.setenv("CASEMATE_TOKEN", token)
    said = casemate("ps", "--url", web.url, "--json")
    assert said.code == 1
    assert said.error["kind"] == "TokenRefusedError"
    assert words in said.error["message"]
    assert "CASEMATE_TOKEN" in said.error["next"]
    assert token is None or token not in said.out + said.err


def test_other_troubles_say_what_to_do(casemate: Casemate, web: Web, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    given = ("--token-file", tmp_path / "token", "--json")
    nobody = casemate("ps", "--url", "http://127.0.0.1:1", *given)
    assert (nobody.code, nobody.error["kind"]) == (1, "NoHostError")
    assert "casemate up" in nobody.error["next"]
    clear = casemate("ps", "--url", "http://machine.example", *given)
    assert (clear.code, clear.error["kind"]) == (5, "AddressError")
    no_tls = casemate("ps", "--url", web.url.replace("http:", "https:"), *given)
    assert no_tls.error["kind"] in {"TlsRefusedError", "NoHostError"}

    def forbid(request: Request) -> None:
        request.problem(403, "role-refused", "the token's role is call, want deploy")

    with Web(forbid) as forbidding:
        role = casemate("stop", 1, "--url", forbidding.url, *given)
    assert role.error["kind"] == "RoleRefusedError"
    assert "role" in role.error["next"]


def test_an_enclaves_life(casemate: Casemate, web: Web) -> None:
    assert casemate("stop", 1, "--url", web.url, "--json").json["state"] == "stopped"
    assert casemate("start", 1, "--url", web.url, "--json").json["state"] == "running"
    assert casemate("destroy", 1, "--url", web.url, "--json").json["state"] == "destroyed"
    unknown = casemate("stop", 7, "--url", web.url, "--json")
    assert (unknown.code, unknown.error["code"]) == (4, "unknown-enclave")


@pytest.fixture
def image(hello: Path, developer_pem: bytes, tmp_path: Path) -> Path:
    write_lock(hello, RuntimeLock().with_runtime("linux-x86_64-cp311", FAKE_RUNTIME))
    made = build(hello, DeveloperKey.from_pem(developer_pem), epoch=0)
    return write_image(made, tmp_path / "image")[0]


def test_an_image_is_launched_there(casemate: Casemate, web: Web, image: Path) -> None:
    assert casemate("launch", image, "--url", web.url, "--json").json["enclave"] == 1
    assert [request.path for request in web.requests][:3] == [web.requests[0].path, "/v1/images", "/v1/enclaves"]


def test_an_enclave_there_is_called(
    casemate: Casemate, web: Web, policy: Path, given: Path, tmp_path: Path, image: Path
) -> None:
    write_caller_key(tmp_path / "alice.pem", ALICE)
    words = ("--input", given, "--policy", policy, "--caller", tmp_path / "alice.pem", "--url", web.url)
    said = casemate("call", 1, "echo", *words, "--json")
    assert said.json["result"]["arguments"] == {"n": 7}
    assert said.json["receipt"]["caller"] == ALICE.manifest_value
    assert casemate("call", image, "echo", *words, "--json").code == 0
    assert web.requests[-1].method == "DELETE"


def test_a_measurement_alone_is_no_policy_for_a_machine_elsewhere(casemate: Casemate, web: Web, given: Path) -> None:
    said = casemate("call", 1, "echo", "-i", given, "--mr-enclave", "ab" * 32, "--url", web.url)
    assert said.code == 2
    assert "operator's word" in said.err


def test_evidence_from_there_is_written_to_files(casemate: Casemate, web: Web, policy: Path, tmp_path: Path) -> None:
    quote = tmp_path / "quote.bin"
    assert casemate("quote", 1, "-o", quote, "--url", web.url).code == 0
    beside = {what: f"{quote}.{what}.json" for what in ("collateral", "binding")}
    verdict = casemate(
        "verify", quote, "--collateral", beside["collateral"], "--binding", beside["binding"], "--policy", policy
    )
    assert verdict.code == 0


def test_a_gateways_root_is_taken_only_where_the_user_says_so(casemate: Casemate, desk: Desk, image: Path) -> None:
    root = parse_chain("chain", desk.forged.collateral.tcb_info_issuer_chain)[-1].der
    machine = {"platform": "linux", "runtime": {"core": "ab" * 32}, "seeded": False, "version": "0.1.0"}
    machine["root_certificate"] = encode_chain(root).decode()
    with Web(lambda request: request.says_json(200, machine)) as web:
        refused = casemate("policy", image, "--url", web.url)
        assert refused.code == 2
        assert "operator's word" in refused.err
        assert not web.requests
        taken = casemate("policy", image, "--url", web.url, "--trust-on-first-use")
    digest = hashlib.sha256(root).hexdigest()
    assert digest in taken.out
    assert digest in taken.err
    assert "compare it" in taken.err


@pytest.mark.parametrize("root", [b"\x30\x03\x02\x01\x05", b"nonsense"])
def test_a_root_that_is_none_is_refused(casemate: Casemate, image: Path, root: bytes) -> None:
    machine = {"platform": "x", "runtime": {"core": "ab" * 32}, "seeded": False, "version": "0"}
    machine["root_certificate"] = encode_chain(root).decode()
    with Web(lambda request: request.says_json(200, machine)) as web:
        assert casemate("policy", image, "--url", web.url, "--trust-on-first-use").code == 5


class TestStreams:
    @pytest.fixture
    def words(self, web: Web, policy: Path, given: Path) -> tuple[object, ...]:
        return ("call", 1, "double", "--input", given, "--policy", policy, "--url", web.url)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "source.bin"
        path.write_bytes(bytes(range(256)) * 10_000)
        return path

    def test_a_file_goes_through(
        self, casemate: Casemate, words: tuple[object, ...], source: Path, tmp_path: Path
    ) -> None:
        target, receipt = tmp_path / "target.bin", tmp_path / "receipt.json"
        said = casemate(*words, "--stream-in", source, "--stream-out", target, "--receipt", receipt, "--json")
        size = len(source.read_bytes())
        assert said.json["stream"] == {"bytes_in": size, "bytes_out": size * 2 + 3, "file": str(target)}
        assert target.stat().st_size == size * 2 + 3
        assert said.json["result"]["pieces"] == 3
        shown = casemate("receipt", "show", receipt, "--json").json
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        assert json.loads(shown["output"])["stream"] == {"sha256": digest, "size": size * 2 + 3}
        person = casemate(*words, "--stream-in", source, "--stream-out", target)
        assert str(target) in person.err

    def test_standard_input_and_output(self, casemate: Casemate, words: tuple[object, ...]) -> None:
        said = casemate(*words, "--stream-in", "-", "--stream-out", "-", given=b"some")
        assert said.out == "somesomeend"
        assert '"pieces":1' in said.err

    def test_output_that_nobody_wants_is_said_to_be_dropped(
        self, casemate: Casemate, words: tuple[object, ...], source: Path
    ) -> None:
        said = casemate(*words, "--stream-in", source)
        assert said.code == 0
        assert "dropped" in said.err
        assert "pieces" in said.out

    def test_a_stream_that_fails_leaves_the_old_file(
        self, casemate: Casemate, words: tuple[object, ...], tmp_path: Path
    ) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(b"fail")
        target.write_bytes(b"old")
        said = casemate(*words, "--stream-in", source, "--stream-out", target, "--json")
        assert (said.code, said.error["code"]) == (4, "guest-error")
        assert target.read_bytes() == b"old"
        assert sorted(path.name for path in tmp_path.iterdir() if "target" in path.name) == ["target"]

    def test_what_cannot_be_is_refused_before_anything_is_sent(
        self, casemate: Casemate, words: tuple[object, ...], web: Web, tmp_path: Path
    ) -> None:
        assert casemate(*words, "--stream-in", tmp_path / "none").code == 5
        assert casemate(*words, "--stream-in", tmp_path).code == 5
        assert casemate(*words, "--stream-out", tmp_path / "no" / "folder").code == 1
        assert casemate(*words, "--stream-out", "-", "--json").code == 2
        assert casemate(*words[:4], "-", *words[5:], "--stream-in", "-").code == 2
        assert not web.requests
