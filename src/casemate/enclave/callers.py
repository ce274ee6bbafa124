"""Who calls: decided inside, by a signature over this very call, whatever the operator says."""

import base64

from casemate.enclave.channel import OpenedRequest
from casemate.enclave.keys import check_signature
from casemate.images.manifest import EntryPoint, Manifest
from casemate.wire.call import caller_transcript
from casemate.wire.faults import Code, refuse
from casemate.wire.json_text import Json


def admit_caller(opened: OpenedRequest, entry: EntryPoint, manifest: Manifest, hpke_key: bytes) -> Json:
    """``context.caller`` for the guest: the key that signed this call, with its name if the manifest has one; or null.

    A proof that is given must hold even where the entry point admits anyone: no guest ever sees a key that its owner
    did not use.

    Args:
        opened: the request.
        entry: what it calls.
        manifest: who is who.
        hpke_key: this enclave's own, which the caller must have signed for: that a request could be opened here does
            not say that its caller meant it for here.

    Raises:
        FaultError: the signature does not verify, or its key may not call this entry point.
    """
    proof = opened.proof
    if proof is not None:
        transcript = caller_transcript(opened.binding, hpke_key, opened.request.content)
        check_signature(proof.public_key, proof.signature, transcript)
    public_key = None if proof is None else proof.public_key
    if not entry.admits(public_key):
        who = "unsigned calls" if public_key is None else f"the caller with key {public_key.hex()}"
        raise refuse(Code.CALLER_REFUSED, f"entry point {entry.name!r} does not admit {who}")
    if public_key is None:
        return None
    caller = manifest.caller(public_key)
    return {
        "name": None if caller is None else caller.name,
        "key": f"ed25519:{base64.b64encode(public_key).decode()}",
    }
