"""The relying party's side: challenge an enclave, appraise its evidence, then talk to it end to end.

The host and the network between may read, keep, change, repeat and swap what passes: what they can do with it is fail
the call.

Example:
    from pathlib import Path

    from casemate.client import connect, read_caller_key
    from casemate.images.image import read_image
    from casemate.verifier import parse_policy

    with connect("/run/casemate/host.sock") as client:
        number = client.launch(read_image(Path("dist/keyword-search.sgxs")))
        enclave = client.attest(number, parse_policy(Path("policy.toml").read_text()))
        result = enclave.call("search", {"query": "whale"}, caller=read_caller_key(Path("alice.pem")))
        print(result.value)
        Path("receipt.json").write_bytes(result.receipt.encode())

``casemate.client.aio`` has the same names for asyncio. A receipt is checked with ``check_receipt``, years later and
offline.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casemate.client.caller_keys import CallerKey, read_caller_key, write_caller_key
    from casemate.client.core import AttestedEnclave, PendingCall, Result, appraise_answer, challenge
    from casemate.client.errors import (
        AddressError,
        AttestAgainError,
        CallerKeyError,
        EnclaveRefusedError,
        FunctionRefusedError,
        GatewayBusyError,
        GatewayRefusedError,
        HostRefusedError,
        NoHostError,
        NotOfferedError,
        OtherProtocolError,
        ReceiptRefusedError,
        ResponseRefusedError,
        RoleRefusedError,
        SessionForkedError,
        StreamBrokenError,
        TlsRefusedError,
        TokenRefusedError,
    )
    from casemate.client.inner_receipts import CheckedInner, verify_chain
    from casemate.client.local import LocalMachine, local_machine, running_machine
    from casemate.client.receipts import CheckedReceipt, Opening, ReceiptBundle, check_receipt
    from casemate.client.sync import Client, Enclave, Stream, connect
    from casemate.client.transport import MachineDescription
    from casemate.wire.protocol.tee import Tee

__all__ = [
    "AddressError",
    "AttestAgainError",
    "AttestedEnclave",
    "CallerKey",
    "CallerKeyError",
    "CheckedInner",
    "CheckedReceipt",
    "Client",
    "Enclave",
    "EnclaveRefusedError",
    "FunctionRefusedError",
    "GatewayBusyError",
    "GatewayRefusedError",
    "HostRefusedError",
    "LocalMachine",
    "MachineDescription",
    "NoHostError",
    "NotOfferedError",
    "Opening",
    "OtherProtocolError",
    "PendingCall",
    "ReceiptBundle",
    "ReceiptRefusedError",
    "ResponseRefusedError",
    "Result",
    "RoleRefusedError",
    "SessionForkedError",
    "Stream",
    "StreamBrokenError",
    "Tee",
    "TlsRefusedError",
    "TokenRefusedError",
    "appraise_answer",
    "challenge",
    "check_receipt",
    "connect",
    "local_machine",
    "read_caller_key",
    "running_machine",
    "verify_chain",
    "write_caller_key",
]

_MODULES = {
    "casemate.client.caller_keys": ("CallerKey", "read_caller_key", "write_caller_key"),
    "casemate.client.core": ("AttestedEnclave", "PendingCall", "Result", "appraise_answer", "challenge"),
    "casemate.client.errors": (
        "AddressError",
        "AttestAgainError",
        "CallerKeyError",
        "EnclaveRefusedError",
        "FunctionRefusedError",
        "GatewayBusyError",
        "GatewayRefusedError",
        "HostRefusedError",
        "NoHostError",
        "NotOfferedError",
        "OtherProtocolError",
        "ReceiptRefusedError",
        "ResponseRefusedError",
        "RoleRefusedError",
        "SessionForkedError",
        "StreamBrokenError",
        "TlsRefusedError",
        "TokenRefusedError",
    ),
    "casemate.client.inner_receipts": ("CheckedInner", "verify_chain"),
    "casemate.client.local": ("LocalMachine", "local_machine", "running_machine"),
    "casemate.client.receipts": ("CheckedReceipt", "Opening", "ReceiptBundle", "check_receipt"),
    "casemate.client.sync": ("Client", "Enclave", "Stream", "connect"),
    "casemate.client.transport": ("MachineDescription",),
    "casemate.wire.protocol.tee": ("Tee",),
}
"""Modules and the names that they have for this package. They are loaded when a name is first used: `casemate up` and
others that import a module of this package would load the verifier and what speaks HTTP with it."""

if not TYPE_CHECKING:  # type checkers would take any name for one of this package's

    def __getattr__(name: str) -> object:
        """The names of ``__all__``."""
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'casemate.client' has no attribute {name!r}")
