"""The host's RA-TLS entries, whether the manifest asks for RA-TLS or not."""

from collections.abc import Callable

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.entry.calls import Calls
from casemate.wire.messages.tls import TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.sandbox_layers import SandboxLayers

TLS_ENTRIES = (TlsPrepare, TlsInstall, TlsBytes)
"""For ``parse_message``."""

TlsEntry = TlsPrepare | TlsInstall | TlsBytes
TlsAnswer = TlsPrepared | TlsInstalled | TlsReply


def tls_answers(program: Program, layers: SandboxLayers, leaf: Leaf, calls: Calls) -> Callable[[TlsEntry], TlsAnswer]:
    """The answers to all RA-TLS entries; they raise :class:`FaultError` where they refuse."""
    if not program.image.manifest.ra_tls:
        return _nothing
    from casemate.enclave.tls.desk import TlsDesk  # loaded before this process was forked: no file is opened here

    return TlsDesk(program, layers, leaf, calls).answer


def _nothing(entry: TlsEntry) -> TlsAnswer:
    if isinstance(entry, TlsPrepare):
        return TlsPrepared(())
    raise refuse(Code.WRONG_STATE, "this enclave's manifest does not ask for RA-TLS")
