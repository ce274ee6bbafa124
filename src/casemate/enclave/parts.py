"""Code that only some enclaves need: loaded when the first of them is started, and kept from then on.

OpenSSL's TLS and h11 take 6 MiB of memory and some tenths of a second. An enclave is confined before it has read its
manifest, so it cannot load them itself: it tells the chip which part it wants (``PartWanted``), the chip has the
spawner load it (``LoadPart``), and the enclave is forked anew; so it goes on, part by part. Each part is rehearsed as
it is loaded, for the reason that :mod:`casemate.enclave.rehearsal` gives. A host cannot do worse with all this than to
delay a start.

The verifier is wanted by manifests under which evidence of another chip counts.
"""

from importlib import import_module

from casemate.wire.encodings.message import prepare
from casemate.wire.messages import peers
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.peers import PeerRequest

_CALLER_SPEAKS = (
    *(peers.PeerOpen, peers.PeerOpened, peers.PeerProve, peers.PeerProved),
    *(peers.PeerCall, peers.PeerReturned, peers.PeerRefused, PeerRequest),
)
"""Messages of an enclave that calls others: see :mod:`casemate.enclave.rehearsal`."""

_loaded: set[OptionalPart] = set()


def load(part: OptionalPart) -> None:
    """Loads and rehearses a part, once a process. The spawner calls this: it may open files, an enclave may not."""
    if part in _loaded:
        return
    match part:
        case OptionalPart.TLS:
            from casemate.enclave.tls.rehearsal import rehearse_tls

            import_module("casemate.enclave.tls.desk")  # enclaves import it after the fork, when it must be there
            rehearse_tls()
        case OptionalPart.CALL:
            import_module("casemate.enclave.capabilities.call")
            prepare(*_CALLER_SPEAKS)
        case OptionalPart.RUN:
            import_module("casemate.enclave.capabilities.run")
        case OptionalPart.KEYS:
            from casemate.enclave.capabilities.key_algorithms import rehearse_keys

            import_module("casemate.enclave.capabilities.keys")
            rehearse_keys()
        case OptionalPart.VERIFIER:
            from casemate.enclave.appraisal import rehearse_appraisal

            import_module("casemate.enclave.capabilities.appraise")
            rehearse_appraisal()
    _loaded.add(part)


def missing_part(manifest: Manifest) -> OptionalPart | None:
    """What an enclave with this manifest needs and this process was forked without."""
    needed = {
        OptionalPart.TLS: manifest.ra_tls,
        OptionalPart.VERIFIER: manifest.judges_by_time,
        OptionalPart.CALL: bool(manifest.uses),
        OptionalPart.RUN: manifest.run is not None,
        OptionalPart.KEYS: bool(manifest.keys),
    }
    return next((part for part, is_needed in needed.items() if is_needed and part not in _loaded), None)
