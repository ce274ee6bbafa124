"""OpenSSL before our chains: it refuses CAs that do not say they are."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from casemate.testing.forge import honest
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.protocol.simulated_mark import SIMULATED_OID
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_openssl_verifies_our_chain_and_shows_its_mark(tmp_path: Path) -> None:
    forged = honest(NOW).sign()
    chain = parse_chain("chain", Quote.parse(forged.evidence.quote).signature_data.certification_data.data)
    names = ("leaf", "ca", "root")
    for name, block in zip(names, chain, strict=True):
        (tmp_path / f"{name}.pem").write_bytes(encode_chain(block.der))
    when = str(int(NOW.timestamp()))
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-attime",
        when,
        "-CAfile",
        "root.pem",
        "-untrusted",
        "ca.pem",
        "leaf.pem",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    shown = {
        name: subprocess.run(
            ["openssl", "x509", "-in", f"{name}.pem", "-noout", "-text"],  # noqa: S607 - on the path, as in the Makefile
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout.decode()
        for name in names
    }
    for name in ("ca", "root"):
        assert SIMULATED_OID in shown[name]
        assert "SIMULATED by Casemate" in shown[name]
    assert SIMULATED_OID not in shown["leaf"]
    assert b"SIMULATED".hex(":") in shown["leaf"]
