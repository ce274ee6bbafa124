"""Receipts that can be kept: what an enclave signed, with all that is needed to check it offline, years later.

A receipt file is JSON. Its openings are the caller's to give or to keep: without them the receipt says *that* this code
computed something for this caller, at this place in the order; with them it says on what, and with which result.

**What the time in the file is worth.** ``appraised_at`` is the word of the client that made the file: the time at which
it appraised the quote. Nobody signed it. Certificates expire and collateral ages, so years later a quote can be
appraised for that time alone; but whoever holds a key that was stolen and revoked *since* can write a file that claims
an earlier time. Give :func:`check_receipt` a time of your own where you have a better witness (a log, a time stamp over
the file's hash), and believe the file's own no more than you believe whoever gave it to you.
"""

import base64
import binascii
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

from casemate.client.binding_file import binding_document, binding_in
from casemate.client.errors import ReceiptRefusedError
from casemate.client.inner_receipts import CheckedInner, check_inner, committed_in
from casemate.client.proof import Proof
from casemate.client.sealing import check_receipt_signature
from casemate.verifier import AnyPolicy, AnyVerifiedEvidence, BoundValues, appraise_any
from casemate.wire.encodings.fields import MAX_U16, MAX_U32, without_trailing_zeros
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.encodings.json_text import MAX_INTEGER, encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_ARGUMENTS, CallMetrics, Receipt, StateMark, commitment
from casemate.wire.protocol.caller_key import caller_key_text, parse_caller_key
from casemate.wire.protocol.inner_receipts import MAX_INNER, ChainedReceipt, InnerCall, InnerReceipt
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.peers import MAX_DEPTH
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE, MAX_ENDORSEMENTS, Tee

FORMAT = "casemate-receipt"
VERSION = 5

_CHAINED = 5
"""The version of a file whose receipt commits to others. A file of one that does not is of the version before."""

_ADDED_IN = {"isolation": 3, "error": 4, "metrics": 4}
"""The versions of receipt files in which a receipt's members came; the files of all versions are read for ever."""

_OLDEST = 2

MAX_BUNDLE = 28 * 1024 * 1024
"""Longest receipt file (bytes): a largest input of few quotation marks, with collateral. Reading it takes twice as much
memory. Where openings are larger, the receipt is kept without them, and the JSON itself beside it."""

_HASH_SIZE = 32
_SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True)
class Opening:
    """The content behind a commitment, and the blind that hides it."""

    blind: bytes
    content: str
    """JSON, exactly as it was sent; of a stream, ``wire.protocol.call.streamed_text`` of it."""

    def __repr__(self) -> str:
        """Nothing of the content."""
        return "Opening(...)"

    def commitment(self) -> bytes:
        """The commitment that this opens."""
        return commitment(self.blind, self.content.encode())


@dataclass(frozen=True, slots=True)
class ReceiptBundle:
    """A receipt and what vouches for it; nothing of it is verified by being here."""

    receipt: Receipt
    signature: bytes
    binding: ReportDataBinding
    proof: Proof
    appraised_at: datetime
    """UTC, to the second; the client's word."""
    input: Opening | None
    output: Opening | None
    inner: tuple[InnerReceipt, ...] = ()
    """Those to which the receipt commits, and those below them; they may be left out."""

    def without_inner(self) -> "ReceiptBundle":
        """This receipt without those of the calls that its call has made, whoever these have called."""
        return replace(self, inner=())

    def without_openings(self, *, keep_input: bool = False, keep_output: bool = False) -> "ReceiptBundle":
        """This receipt without the input or output it is about, unless kept."""
        return replace(self, input=self.input if keep_input else None, output=self.output if keep_output else None)

    def encode(self) -> bytes:
        """The receipt file; :class:`WireError` where its openings are larger than one may have."""
        chained: dict[str, object] = {}
        if isinstance(self.receipt, ChainedReceipt):
            chained["inner"] = [_inner_members(each) for each in self.inner]
        encoded = encode_json(
            {
                "format": FORMAT,
                "version": _CHAINED if chained else _CHAINED - 1,
                "receipt": _receipt_members(self.receipt),
                "signature": self.signature.hex(),
                "report_data": binding_document(self.binding),
                "tee": str(self.proof.tee),
                "evidence": base64.b64encode(self.proof.evidence).decode(),
                "endorsements": parse_json("endorsements", self.proof.encoded_endorsements(), limit=MAX_ENDORSEMENTS),
                "appraised_at": date_text(self.appraised_at),
                "openings": {"input": _opening_members(self.input), "output": _opening_members(self.output)},
                **chained,
            }
        )
        if len(encoded) > MAX_BUNDLE:
            want = f"at most {MAX_BUNDLE}: keep it without_openings(), and the JSON beside it"
            raise WireError("receipt file", got=f"{len(encoded)} bytes", want=want)
        return encoded

    @classmethod
    def parse(cls, data: bytes) -> "ReceiptBundle":
        """The bundle in a receipt file, from whomever it comes, or :class:`WireError`."""
        body = parse_object("receipt file", without_trailing_zeros(data), limit=MAX_BUNDLE)
        _expect("format", body.text("format"), FORMAT)
        version = body.uint("version", MAX_INTEGER)
        if not _OLDEST <= version <= VERSION:
            raise WireError("receipt file.version", got=str(version), want=f"{_OLDEST} to {VERSION}")
        body.only(
            *("format", "version", "receipt", "signature", "report_data"),
            *("tee", "evidence", "endorsements", "appraised_at", "openings"),
            *(("inner",) if version >= _CHAINED else ()),
        )
        openings = body.child("openings")
        openings.only("input", "output")
        return cls(
            receipt=_parse_receipt(body.child("receipt"), version),
            signature=body.hexadecimal("signature", _SIGNATURE_SIZE),
            binding=binding_in(body.child("report_data")),
            proof=Proof.parse(
                _parse_tee(body), _parse_base64(body, "evidence"), encode_json(body.value("endorsements"))
            ),
            appraised_at=body.date("appraised_at"),
            input=_parse_opening(openings, "input"),
            output=_parse_opening(openings, "output"),
            inner=_parse_inner(body, version) if version >= _CHAINED else (),
        )


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A receipt that holds; :func:`check_receipt` makes it."""

    receipt: Receipt
    enclave: AnyVerifiedEvidence
    """Evidence of the enclave that signed the receipt."""
    at: datetime
    """The time for which the quote was appraised; see the module's note on what it is worth."""
    input: str | None
    """The JSON that the enclave was given; None where the file does not open it."""
    output: str | None
    """The JSON that it answered; None where the file does not open it."""
    inner: tuple[CheckedInner, ...] = ()
    """The receipts of the calls that it has made, where it names them and the file has them; :func:`verify_chain`
    checks by whom they are."""
    is_whole: bool = True
    """False where the receipt commits to others that the file does not have."""


def check_receipt(bundle: ReceiptBundle, policy: AnyPolicy, *, at: datetime | None = None) -> CheckedReceipt:
    """Checks a receipt by ``policy``, offline, from nothing but the bundle.

    1. The evidence is genuine and acceptable at the time ``at``, or else at the bundle's own; its REPORTDATA vouches
       for the keys, nonce and sandbox layers in the bundle.
    2. The receipt is about this evidence and its measurement.
    3. The attested receipt key signed it.
    4. The openings, where there are any, are what it commits to.
    5. The receipts of the calls that it has made, where there are any, hold: see :func:`check_inner`.

    Args:
        bundle: from whomever.
        policy: whom the checker trusts, and with what; its ``report_data`` is ``FRESH_NONCE``. There is no default.
        at: a time that the checker has a better witness for than the file.

    Raises:
        RefusedError: the evidence (rule 1).
        ReceiptRefusedError: the rest.
        WireError: a value is longer than its format allows.
    """
    binding, receipt = bundle.binding, bundle.receipt
    bound = BoundValues(binding.hpke_key, binding.receipt_key, binding.layers)
    moment = bundle.appraised_at if at is None else at
    proof = bundle.proof
    enclave = appraise_any(proof.about(bound), policy.with_nonce(binding.nonce), proof.endorsements, moment)  # 1
    check_equal("quote hash in the receipt", receipt.quote_hash, enclave.evidence_hash)  # 2
    check_equal("measurement in the receipt", receipt.measurement, enclave.measurement)
    check_receipt_signature(binding_of(enclave).receipt_key, receipt, bundle.signature)  # 3
    if bundle.input is not None:  # 4
        check_equal("commitment to the input", receipt.input_commitment, bundle.input.commitment())
    if bundle.output is not None:
        check_equal("commitment to the output", receipt.output_commitment, bundle.output.commitment())
    inner = check_inner(receipt, bundle.inner)  # 5
    return CheckedReceipt(
        receipt=receipt,
        enclave=enclave,
        at=moment,
        input=None if bundle.input is None else bundle.input.content,
        output=None if bundle.output is None else bundle.output.content,
        inner=inner,
        is_whole=committed_in(receipt) is None or bool(inner),
    )


def binding_of(evidence: AnyVerifiedEvidence) -> ReportDataBinding:
    """The binding in verified REPORTDATA."""
    if evidence.binding is None:
        raise ReceiptRefusedError("REPORTDATA", got="no keys of an enclave of Casemate's", want="keys bound to a nonce")
    return evidence.binding


def check_equal(rule: str, got: object, want: object) -> None:
    """Refuses public values that differ."""
    if got != want:
        raise ReceiptRefusedError(rule, got=_shown(got), want=_shown(want))


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _receipt_members(receipt: Receipt) -> dict[str, object]:
    state = receipt.state
    return {
        "quote_hash": receipt.quote_hash.hex(),
        "measurement": receipt.measurement.hex(),
        "session": receipt.session,
        "sequence": receipt.sequence,
        "entry": receipt.entry,
        "caller": None if receipt.caller is None else caller_key_text(receipt.caller),
        "input_commitment": receipt.input_commitment.hex(),
        "output_commitment": receipt.output_commitment.hex(),
        "counter": receipt.counter,
        "state": None if state is None else {"epoch": state.epoch, "recoveries": state.recoveries},
        "isolation": None if receipt.isolation is None else str(receipt.isolation),
        "error": receipt.error,
        "metrics": None if receipt.metrics is None else asdict(receipt.metrics),
        **({"inner": receipt.inner.hex()} if isinstance(receipt, ChainedReceipt) else {}),
    }


def _inner_members(each: InnerReceipt) -> dict[str, object]:
    call = each.call
    return {
        "level": each.level,
        "service": call.service,
        "tee": str(call.tee),
        "mr_signer": call.mr_signer.hex(),
        "product_id": call.product_id,
        "security_version": call.security_version,
        "deployment": call.deployment.hex(),
        "receipt_key": call.receipt_key.hex(),
        "receipt": _receipt_members(call.signed),
        "signature": call.signature.hex(),
    }


def _parse_inner(body: JsonObject, version: int) -> tuple[InnerReceipt, ...]:
    found = []
    for each in body.children("inner", limit=MAX_INNER):
        each.only("level", "tee", *(name for name in InnerCall.__slots__ if name != "inner"))
        receipt = _parse_receipt(each.child("receipt"), version)
        call = InnerCall(
            service=each.text("service"),
            tee=_parse_tee(each),
            mr_signer=each.hexadecimal("mr_signer", _HASH_SIZE),
            product_id=each.uint("product_id", MAX_U16),
            security_version=each.uint("security_version", MAX_U16),
            deployment=each.hexadecimal("deployment", _HASH_SIZE),
            receipt_key=each.hexadecimal("receipt_key", _HASH_SIZE),
            receipt=_plain(receipt),
            inner=committed_in(receipt),
            signature=each.hexadecimal("signature", _SIGNATURE_SIZE),
        )
        found.append(InnerReceipt(each.uint("level", MAX_DEPTH), call))
    return tuple(found)


def _plain(receipt: Receipt) -> Receipt:
    """The part of a receipt that an enclave sends in one piece."""
    return Receipt(**{field.name: getattr(receipt, field.name) for field in fields(Receipt)})


def _parse_receipt(body: JsonObject, version: int) -> Receipt:
    names = (*Receipt.__slots__, *(("inner",) if version >= _CHAINED and body.has("inner") else ()))
    body.only(*(name for name in names if _ADDED_IN.get(name, _OLDEST) <= version))
    receipt = Receipt(
        quote_hash=body.hexadecimal("quote_hash", _HASH_SIZE),
        measurement=_parse_measurement(body),
        session=body.uint("session", MAX_INTEGER),
        sequence=body.uint("sequence", MAX_INTEGER),
        entry=body.text("entry"),
        caller=parse_caller_key("receipt file.receipt.caller", body.text("caller")) if body.has("caller") else None,
        input_commitment=body.hexadecimal("input_commitment", _HASH_SIZE),
        output_commitment=body.hexadecimal("output_commitment", _HASH_SIZE),
        counter=body.uint("counter", MAX_INTEGER),
        state=_parse_state(body.child("state")) if body.has("state") else None,
        isolation=_parse_isolation(body) if body.has("isolation") else None,
        error=body.text("error") if body.has("error") else None,
        metrics=_parse_metrics(body.child("metrics")) if body.has("metrics") else None,
    )
    return ChainedReceipt.of(receipt, body.hexadecimal("inner", _HASH_SIZE)) if "inner" in names else receipt


def _parse_measurement(body: JsonObject) -> bytes:
    size = LAUNCH_DIGEST_SIZE if len(body.text("measurement")) == 2 * LAUNCH_DIGEST_SIZE else _HASH_SIZE
    return body.hexadecimal("measurement", size)


def _parse_tee(body: JsonObject) -> Tee:
    try:
        return Tee(body.text("tee"))
    except ValueError:
        raise WireError("receipt file.tee", got=ascii(body.text("tee"))[:80], want=" or ".join(Tee)) from None


def _parse_isolation(body: JsonObject) -> Isolation:
    try:
        return Isolation(body.text("isolation"))
    except ValueError:
        got = ascii(body.text("isolation"))[:80]
        raise WireError("receipt file.receipt.isolation", got=got, want=" or ".join(Isolation)) from None


def _parse_metrics(body: JsonObject) -> CallMetrics:
    body.only(*CallMetrics.__slots__)
    return CallMetrics(
        wall_us=body.uint("wall_us", MAX_INTEGER),
        cpu_us=body.uint("cpu_us", MAX_INTEGER) if body.has("cpu_us") else None,
        peak_kib=body.uint("peak_kib", MAX_INTEGER) if body.has("peak_kib") else None,
        bytes_out=body.uint("bytes_out", MAX_INTEGER),
        ocalls=body.uint("ocalls", MAX_U32),
        cold=body.flag("cold"),
    )


def _parse_state(body: JsonObject) -> StateMark:
    body.only(*StateMark.__slots__)
    return StateMark(epoch=body.uint("epoch", MAX_INTEGER), recoveries=body.uint("recoveries", MAX_U32))


def _opening_members(opening: Opening | None) -> dict[str, object] | None:
    return None if opening is None else {"blind": opening.blind.hex(), "content": opening.content}


def _parse_opening(body: JsonObject, name: str) -> Opening | None:
    if not body.has(name):
        return None
    opening = body.child(name)
    opening.only("blind", "content")
    content = opening.text("content")
    if len(content) > MAX_ARGUMENTS:
        raise WireError(f"receipt file.{name}", got=f"{len(content)} characters", want=f"at most {MAX_ARGUMENTS}")
    return Opening(opening.hexadecimal("blind", _HASH_SIZE), content)


def _parse_base64(body: JsonObject, name: str) -> bytes:
    try:
        return base64.b64decode(body.text(name), validate=True)
    except (binascii.Error, ValueError):
        raise WireError(f"receipt file.{name}", got="other text", want="base64") from None


def _expect(name: str, got: object, want: object) -> None:
    if got != want:
        raise WireError(f"receipt file.{name}", got=repr(got), want=repr(want))
