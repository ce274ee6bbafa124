"""The identity of a caller: proved inside the enclave by a signature over the call, whatever the operator says."""

from casemate.enclave.entry.channel import OpenedRequest
from casemate.enclave.keys import check_signature, sha256
from casemate.enclave.peer_policy import KnownPeer
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import caller_transcript
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import EntryPoint, Manifest


def proved_key(opened: OpenedRequest, hpke_key: bytes) -> bytes | None:
    """The Ed25519 key that signed this request; None where nobody signed.

    A proof that is given must hold even where the entry point admits anyone: no guest ever sees a key that its owner
    did not use.

    Args:
        opened: the request.
        hpke_key: this enclave's own, which the caller must have signed for: that a request could be opened here does
            not say that its caller meant it for here.

    Raises:
        FaultError: the signature does not verify.
    """
    proof = opened.proof
    if proof is None:
        return None
    transcript = caller_transcript(
        opened.binding, hpke_key, opened.session.encapsulation_hash, opened.request.content, sha256
    )
    check_signature(proof.public_key, proof.signature, transcript)
    return proof.public_key


def admit(entry: EntryPoint, manifest: Manifest, public_key: bytes | None) -> Json:
    """``context.caller`` for the guest: the key that calls, with its name if the manifest has one; or null.

    Args:
        entry: what is called.
        manifest: names keys.
        public_key: proved to be the caller's; None for nobody.

    Raises:
        FaultError: this key may not call this entry point.
    """
    if not entry.admits(public_key):
        who = "unsigned calls" if public_key is None else f"the caller with key {caller_key_text(public_key)}"
        raise refuse(Code.CALLER_REFUSED, f"entry point {entry.name!r} does not admit {who}")
    if public_key is None:
        return None
    caller = manifest.caller(public_key)
    return {
        "name": None if caller is None else caller.name,
        "key": caller_key_text(public_key),
    }


def admit_peer(entry: EntryPoint, peer: KnownPeer) -> Json:
    """``context.caller`` for the guest: the enclave that calls, with its name if the manifest has one.

    Args:
        entry: what is called.
        peer: proved to be the caller.

    Raises:
        FaultError: this enclave may not call this entry point.
    """
    who = peer.identity
    if not entry.admits_enclave(peer.name):
        named = f"the enclave {peer.name}" if peer.name else f"an enclave of signer {who.mr_signer.hex()}"
        raise refuse(Code.CALLER_REFUSED, f"entry point {entry.name!r} does not admit {named}")
    return {
        "name": peer.name,
        "key": who.key,
        "enclave": {
            "tee": str(who.tee),
            "measurement": who.measurement.hex(),
            "mr_signer": who.mr_signer.hex(),
            "product_id": who.product_id,
            "security_version": who.security_version,
            "debug": who.debug,
            "deployment": who.deployment.hex(),
        },
    }
