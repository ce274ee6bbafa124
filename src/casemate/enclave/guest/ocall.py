"""OCALLs: questions of the guest to the host, checked both ways.

Only declared ones go out, and only answers that fit their schema come in.
"""

from casemate.enclave.io.host_link import HostLink
from casemate.images.errors import SchemaMismatchError, mismatch_words
from casemate.images.schemas.compiled import CompiledSchemas, OcallSchemas
from casemate.images.schemas.schemas import InboundSchema, OutboundSchema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.messages import entry
from casemate.wire.protocol.faults import Code, refuse

Said = entry.OcallAnswer | entry.OcallRefused
"""What a host may say about an OCALL."""

_SAID = (entry.OcallAnswer, entry.OcallRefused)

MAX_NAME = 64
"""Most characters that are told of a name that no OCALL has."""


class Ocalls:
    """Puts the guest's OCALLs to the host."""

    def __init__(self, schemas: CompiledSchemas, host: HostLink, *, explain: bool) -> None:
        """Puts questions to ``host``; refusals quote values if ``explain``, as in debug enclaves."""
        self._explain = explain
        self._schemas = schemas
        self._host = host

    async def ask(self, name: str, arguments: bytes, deadline: float) -> bytes:
        """One OCALL: the guest's JSON in, checked JSON out.

        Args:
            name: as the guest says.
            arguments: JSON as the guest says.
            deadline: on the monotonic clock.

        Raises:
            FaultError: ``ocall-refused``: the manifest does not allow it, or the host did not answer properly by the
                deadline; ``guest-error``: the arguments are not JSON.
        """
        schemas = self._declared(name)
        sent = _leaving(name, schemas.input, arguments, explain=self._explain)
        said = await self._host.ask(lambda number: entry.Ocall(number, name, sent), deadline, *_SAID)
        if not isinstance(said, _SAID):
            raise refuse(Code.OCALL_REFUSED, f"the host did not answer OCALL {name!r} while the call lasted")
        return _entering(name, schemas.output, said, explain=self._explain)

    def _declared(self, name: str) -> OcallSchemas:
        """The schemas of the OCALL of that name; the host gets no question under another name."""
        ocall = self._schemas.ocalls.get(name)
        if ocall is None:
            which = f" as {name[:MAX_NAME]!a}" if self._explain else ""
            raise refuse(Code.OCALL_REFUSED, f"the manifest declares no such OCALL{which}")
        return ocall


def _leaving(name: str, schema: OutboundSchema, arguments: bytes, *, explain: bool) -> bytes:
    """Those members of the arguments that the manifest lets out, as JSON."""
    try:
        value = parse_json("OCALL arguments", arguments, limit=entry.MAX_OCALL, round_integers=True)
    except WireError as error:  # the engine's own writer of JSON has made it
        raise refuse(Code.GUEST_ERROR, f"the OCALL's argument is not JSON: {error.got}, want {error.want}") from None
    try:
        text = encode_json(schema.filter(value))
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.OCALL_REFUSED, f"OCALL {name!r}: {mismatch_words(error, explain=explain)}") from None
    if len(text) > entry.MAX_OCALL:  # numbers may be spelled longer than the guest did
        raise refuse(Code.OCALL_REFUSED, f"OCALL {name!r}: {len(text)} bytes, at most {entry.MAX_OCALL} may leave")
    return text


def _entering(name: str, schema: InboundSchema, said: Said, *, explain: bool) -> bytes:
    """The host's answer as the guest gets it; refused as ``ocall-refused`` where it does not fit the schema."""
    if isinstance(said, entry.OcallRefused):
        known = name in entry.ANSWERED_OCALLS
        own = ", ".join(entry.ANSWERED_OCALLS)
        hint = "" if known else f"; Casemate's own hosts answer {own}, and what their operator adds with --ocalls"
        raise refuse(Code.OCALL_REFUSED, f"the host refuses OCALL {name!r}{hint}")
    try:
        value = parse_json("OCALL answer", said.answer, limit=entry.MAX_OCALL)
        schema.check(value)
    except (WireError, SchemaMismatchError) as error:
        words = mismatch_words(error, explain=explain)
        raise refuse(Code.OCALL_REFUSED, f"the host's answer to OCALL {name!r}: {words}") from None
    return encode_json(value)
