import hashlib
import importlib
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from tests.rigs.docs.markdown import ROOT, blocks, table

import casemate.wire
from casemate.wire.encodings.message import encode_message, tag_of
from casemate.wire.protocol.call import (
    SESSION_KEYS_SIZE,
    CallBinding,
    CallContent,
    CallFailed,
    CallRefused,
    CallRequest,
    CallResult,
    Envelope,
    Receipt,
    SessionBinding,
    StepTaken,
    StreamEnded,
    caller_transcript,
    commitment,
)
from casemate.wire.protocol.inner_receipts import Accounted, InnerCall, InnerReceipt
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.peers import PeerBinding, PeerRequest, PeerSession, PeerSide
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers

PAGE = (ROOT / "docs" / "protocol.md").read_text()
SHOWN = dict(
    line.split() for block in blocks(PAGE) if block.language == "console" for line in block.text.splitlines()[1:]
)
HPKE_KEY, RECEIPT_KEY, NONCE, QUOTE_HASH = (bytes([byte]) * 32 for byte in (0x11, 0x22, 0x33, 0x44))
BINDING = CallBinding(QUOTE_HASH, session=7, sequence=2, entry="search")
CONTENT = CallContent(bytes(32), bytes(32), b"{}")


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_example_shows_what_the_code_computes() -> None:
    layers = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, "412 instructions"),), ())
    committed = commitment(bytes(32), b'{"word":"x"}')
    receipt = Receipt(
        QUOTE_HASH, bytes(32), 7, 2, "search", None, committed, committed, counter=1, isolation=Isolation.SHARED
    )
    session, secret, encapsulation = BINDING.of_session, b"\x55" * 32, bytes(80)
    keys = HKDF(SHA256(), SESSION_KEYS_SIZE, None, session.keys_info(HPKE_KEY)).derive(secret)
    data = BINDING.nonce + BINDING.request_aad() + BINDING.response_aad(b"sealed" + b"\x66" * 16)
    transcript = caller_transcript(BINDING, HPKE_KEY, digest(encapsulation), CONTENT, lambda _: digest(b"content"))
    peer = PeerSession(b"\x77" * 32, b"\x88" * 32, RECEIPT_KEY, HPKE_KEY, 7)
    proof = PeerBinding(peer, QUOTE_HASH, RECEIPT_KEY, layers)
    computed = {
        "peer": digest(peer.encapsulation_info()),
        "called": proof.report_data(PeerSide.CALLED),
        "name": proof.session_name(),
        "REPORTDATA": ReportDataBinding(HPKE_KEY, RECEIPT_KEY, NONCE, layers).report_data(),
        "session": digest(session.encapsulation_info(HPKE_KEY)),
        "request": keys[:32],
        "response": keys[32:],
        "data": digest(data),
        "envelope": digest(encode_message(Envelope(BINDING, bytes.fromhex("deadbeef"), encapsulation))),
        "caller": digest(transcript),
        "receipt": digest(receipt.signed_bytes()),
        "refusal": digest(replace(receipt, error="budget-spent").signed_bytes()),
        "receipt-v1": digest(replace(receipt, isolation=None).signed_bytes()),
    }
    assert {name: value.hex()[:32] for name, value in computed.items()} == SHOWN


@pytest.mark.parametrize(
    "cls", [Envelope, CallRequest, CallResult, CallRefused, CallFailed, StepTaken, StreamEnded, PeerRequest, Accounted]
)
def test_the_tag_on_the_page_is_the_one_on_the_wire(cls: type) -> None:
    assert re.findall(rf"^{cls.__name__} +((?:ff)?[0-9a-f]{{2}}) ", PAGE, re.MULTILINE) == [tag_of(cls).hex()]


def test_each_module_on_the_page_is_there() -> None:
    for row in table(PAGE, "module"):
        for name in re.findall(r"`([\w.]+)`", row[0]):
            assert importlib.import_module(f"{casemate.wire.__name__}.{name}").__doc__


@pytest.mark.parametrize(
    "cls", [ReportDataBinding, SessionBinding, CallBinding, CallContent, Receipt, InnerReceipt, InnerCall]
)
def test_each_field_is_on_the_page_in_its_place(cls: type) -> None:
    start = PAGE.index(f"\n{cls.__name__} ")
    named = re.findall(r"[a-z_]+", PAGE[start : PAGE.index("```", start)])
    places = [named.index(field) for field in cls.__dataclass_fields__]  # type: ignore[attr-defined]
    assert places == sorted(places)
