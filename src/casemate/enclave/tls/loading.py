"""What only enclaves with RA-TLS need, loaded when the first of them is started and kept from then on.

OpenSSL's TLS and h11 take 6 MiB of memory and some tenths of a second. An enclave is confined before it has read its
manifest, so it cannot load them itself: it tells the chip that it wants them, the chip has the spawner load them, and
the enclave is forked anew. Whoever lies about that delays a start.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casemate.enclave.tls.desk import TlsDesk

_loaded: "list[type[TlsDesk]]" = []


def equip() -> None:
    """Loads and rehearses it, once a process; to be called by the spawner, which may open files."""
    if not _loaded:
        from casemate.enclave.tls.desk import TlsDesk
        from casemate.enclave.tls.rehearsal import rehearse_tls

        rehearse_tls()
        _loaded.append(TlsDesk)


def tls_desk() -> "type[TlsDesk] | None":
    """RA-TLS, where this process was forked with it."""
    return _loaded[0] if _loaded else None
