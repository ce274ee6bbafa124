"""RA-TLS clients that are none of ours: the command lines of OpenSSL and curl."""

import json
import subprocess
from pathlib import Path
from typing import Any

from casemate.client.caller_keys import CallerKey

POST = ("-H", "content-type: application/json", "-d")


class Party:
    """A caller with an Ed25519 key and a self-signed certificate, made by OpenSSL."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.crt"
        openssl(
            *("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", f"/CN={name}", "-days", "1"),
            *("-keyout", str(self.key), "-out", str(self.certificate)),
        )

    @property
    def caller(self) -> CallerKey:
        return CallerKey.from_pem(self.key.read_bytes())

    @property
    def manifest_value(self) -> str:
        return self.caller.manifest_value


def openssl(*arguments: str, typed: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=typed, capture_output=True, check=False, timeout=30)  # noqa: S607 - on the path, as in the Makefile
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def curl(*arguments: str) -> tuple[int, str, Any]:
    """Status, content type and JSON."""
    written = "\n%{http_code} %{content_type}"
    done = subprocess.run(
        ["curl", "-sk", "--max-time", "20", "-w", written, *arguments],  # noqa: S607 - on the path
        capture_output=True,
        check=True,
        timeout=30,
    )
    body, _, status = done.stdout.decode().rpartition("\n")
    code, _, content_type = status.partition(" ")
    return int(code), content_type, json.loads(body)


def url(port: int, path: str = "/") -> str:
    return f"https://127.0.0.1:{port}{path}"
