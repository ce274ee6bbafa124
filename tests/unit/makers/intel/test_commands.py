"""The maker as its callers meet it: a process, JSON in and out."""

import concurrent.futures
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.rigs.makers import NOW, ask, refused, run

from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.x509_dates import validity_of
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS, FIRST_PCE_SVN, FMSPC
from casemate.wire.sgx.tcb_info import TcbInfo, TcbStatus

PPID = "0f" * 16


def pck_request(ppid: str = PPID) -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {
        "public_key": key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex(),
        "ppid": ppid,
        "cpu_svn": FIRST_COMPONENTS.hex(),
        "pce_svn": FIRST_PCE_SVN,
        "pce_id": 0,
        "fmspc": FMSPC.hex(),
    }


def test_a_machine_is_certified_recovered_and_revoked(tmp_path: Path) -> None:
    root = ask(tmp_path, "init")
    assert root["seeded"] is False
    assert ask(tmp_path, "init") == root

    issued = ask(tmp_path, "issue-pck", given=pck_request())
    chain = parse_chain("chain", issued["chain"].encode())
    assert chain[2].der == parse_chain("root", root["root_certificate"].encode())[0].der

    newest = ask(tmp_path, "newest-tcb")
    assert newest == {"cpu_svn": FIRST_COMPONENTS.hex(), "pce_svn": FIRST_PCE_SVN}
    before = TcbInfo.parse(Collateral.parse(run(tmp_path, "collateral").stdout).tcb_info)
    recovered = ask(tmp_path, "recover-tcb", "--advisory", "SIM-SA-00006")
    after = TcbInfo.parse(Collateral.parse(run(tmp_path, "collateral").stdout).tcb_info)
    assert ask(tmp_path, "newest-tcb") == {name: recovered[name] for name in ("cpu_svn", "pce_svn")}
    assert after.tcb_evaluation_data_number == before.tcb_evaluation_data_number + 1
    assert after.tcb_levels[1].status is TcbStatus.OUT_OF_DATE
    assert after.tcb_levels[1].advisory_ids == ("SIM-SA-00006",)
    assert ask(tmp_path, "recover-qe", "--advisory", "SIM-SA-00007")["isv_svn"] == 9

    assert ask(tmp_path, "revoke", "--ppid", PPID) == {"revoked": [issued["serial"]]}
    assert len(ask(tmp_path, "revoke", "--ca", "platform")["revoked"]) == 1


def test_keys_are_for_the_owner_alone(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    folder = tmp_path / "vendor"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert len([path for path in files if path.name.endswith(".key.pem")]) == 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert [path.name for path in tmp_path.iterdir()] == ["vendor"]


def test_seed_makes_the_same_maker_in_another_folder(tmp_path: Path) -> None:
    one, two = (ask(tmp_path / name, "init", "--seed", "s") for name in ("one", "two"))
    assert one == two
    assert one["seeded"] is True
    assert "was not made from --seed 't'" in refused(tmp_path / "one", "init", "--seed", "t")


def test_refusals_are_one_line_and_exit_1(tmp_path: Path) -> None:
    assert "run init first" in refused(tmp_path, "collateral")
    assert "run init first" in refused(tmp_path, "issue-pck", given=json.dumps(pck_request()).encode())
    ask(tmp_path, "init")
    assert "public_key" in refused(tmp_path, "issue-pck", given=b"{}")
    assert "JSON" in refused(tmp_path, "issue-pck", given=b"nonsense")
    assert "at most" in refused(tmp_path, "issue-pck", given=b" " * 100_000)
    assert "none of this maker's" in refused(
        tmp_path, "issue-pck", given=json.dumps(pck_request() | {"fmspc": "00" * 6}).encode()
    )
    assert "nothing to revoke" in refused(tmp_path, "revoke", "--ppid", PPID)
    assert "the root issues no PCK" in refused(tmp_path, "collateral", "--ca", "root")
    assert "short name" in refused(tmp_path, "recover-tcb", "--advisory", "x" * 65)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    (tmp_path / "vendor" / "ledger.json").write_bytes(b"{")
    assert "ledger is damaged" in refused(tmp_path, "collateral")
    (tmp_path / "vendor" / "root.key.pem").write_bytes(b"")
    assert "key file is damaged" in refused(tmp_path, "collateral")


def test_two_makers_are_never_made_at_once(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(tmp_path, "init")["root_sha256"], range(4)))
    assert len(set(answers)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["vendor"]


def test_certificates_issued_at_once_are_all_in_the_ledger(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    requests = [pck_request(f"{number:032x}") for number in range(6)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        issued = list(pool.map(lambda request: ask(tmp_path, "issue-pck", given=request)["serial"], requests))
    ledger = json.loads((tmp_path / "vendor" / "ledger.json").read_bytes())
    assert {entry["serial"] for entry in ledger["issued"]} == set(issued)


def test_maker_of_a_wrong_clock_is_renewed_roots_too(tmp_path: Path) -> None:
    future = "2031-01-01T00:00:00Z"
    words = [sys.executable, "-I", "-m", "casemate.makers", "--state", str(tmp_path), "init", "--now", future]
    made = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    assert ask(tmp_path, "renew") == {"renewed": ["SGX"], "seeded": False}
    now = ask(tmp_path, "init")
    assert now["root_sha256"] != made["root_sha256"]
    assert ask(tmp_path, "renew") == {"renewed": [], "seeded": False}
    at = datetime.fromisoformat(NOW)
    for certificate in parse_chain("chain", ask(tmp_path, "issue-pck", given=pck_request())["chain"].encode()):
        assert validity_of(certificate.der).holds(at)


def test_maker_that_has_lost_its_ledger_is_not_made_anew(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    (tmp_path / "vendor" / "ledger.json").unlink()
    assert "ledger.json is missing" in refused(tmp_path, "init")
