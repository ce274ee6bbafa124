"""The signatures that users wait for: an image's, and a caller's on each call."""

import hashlib
from datetime import UTC, datetime

from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import EPOCH, FUNCTION, Lab
from casemate.client import CallerKey
from casemate.enclave.keys import check_signature
from casemate.images.keys import DeveloperKey
from casemate.images.sigstruct import sign_enclave
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.sgx.sigstruct import Sigstruct
from casemate.wire.sgx.sigstruct_signature import verify_sigstruct

FIVE = Target(Kind.VALUE, 5, "≤ 5 ms")


def signing(lab: Lab) -> list[Row]:
    """Making and checking each signature; a caller's signs the transcript of a small call."""
    manifest = parse_manifest((FUNCTION / "casemate.toml").read_bytes(), _measured)
    developer, caller = DeveloperKey.generate(), CallerKey.generate()
    mr_enclave, day = hashlib.sha256(lab.image.sgxs).digest(), datetime.fromtimestamp(EPOCH, UTC).date()
    transcript = bytes(512)
    image_signature, call_signature = Sigstruct.parse(lab.image.sigstruct), caller.sign(transcript)
    samples = interleave(
        lab.rounds.quotes,
        timed(lambda: sign_enclave(mr_enclave, manifest, developer, day=day)),
        timed(lambda: verify_sigstruct(image_signature)),
        timed(lambda: caller.sign(transcript)),
        timed(lambda: check_signature(caller.public_key, call_signature, transcript)),
        warm_up=5,
    )
    names = (
        "SIGSTRUCT made (RSA-3072)",
        "SIGSTRUCT checked, as EINIT does",
        "caller's signature made (Ed25519)",
        "caller's signature checked",
    )
    return [
        Row("sign", name, "ms", Stats.of_seconds(seconds), target=FIVE)
        for name, seconds in zip(names, samples, strict=True)
    ]


def _measured(path: str) -> bytes | None:
    file = FUNCTION / path
    return file.read_bytes() if file.is_file() else None
