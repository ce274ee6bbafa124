"""Answers a guest's questions about the state out of the call's transaction."""

from casemate.enclave.store.transaction import Transaction
from casemate.enclave.store.values import sorted_json
from casemate.engines.questions.state import (
    CompareAndSetState,
    DeleteState,
    GetState,
    ListState,
    PutState,
    StateQuestion,
)
from casemate.wire.encodings.json_text import encode_json

ABSENT = b""
"""The answer where there is no value."""


def answer_of(transaction: Transaction, question: StateQuestion) -> bytes:
    """JSON for the guest, or :data:`ABSENT`; :class:`FaultError` as the transaction raises it."""
    match question:
        case GetState(key):
            value = transaction.get(key)
            return ABSENT if value is None else value
        case PutState(key, value):
            transaction.put(key, sorted_json(value))
            return encode_json(None)
        case DeleteState(key):
            return encode_json(transaction.delete(key))
        case ListState(prefix, after, limit):
            return encode_json(transaction.list(prefix, after=after, limit=limit))
        case CompareAndSetState(key, expected, value):
            return encode_json(transaction.compare_and_set(key, _canonical(expected), _canonical(value)))


def _canonical(value: bytes | None) -> bytes | None:
    return None if value is None else sorted_json(value)
