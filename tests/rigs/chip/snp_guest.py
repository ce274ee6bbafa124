"""The guest's side of messages to the firmware, with nothing of the firmware's code."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.wire.snp.guest_message import MessageHeader, MessageType


def seal_with(
    key: bytes,
    payload: bytes,
    *,
    number: int = 1,
    kind: MessageType = MessageType.REPORT_REQ,
    vmpl: int = 0,
    version: int = 1,
) -> bytes:
    """A request."""
    header = MessageHeader(
        msg_seqno=number, msg_type=kind, msg_version=version, msg_size=len(payload), msg_vmpck=vmpl
    ).encode()
    sealed = AESGCM(key).encrypt(number.to_bytes(12, "little"), payload, header[0x30:0x60])
    return sealed[-16:] + header[16:] + sealed[:-16]


def opened_with(key: bytes, response: bytes) -> bytes:
    """The payload of a response."""
    nonce = response[0x20:0x28] + bytes(4)
    return AESGCM(key).decrypt(nonce, response[0x60:] + response[:16], response[0x30:0x60])
