"""The capability ``keys``: named keys that are made in here and never leave.

They stand in the sealed state, under keys of the enclave's own, so they belong to whom the state belongs to, and are as
fresh. Each use begins on the newest state: another instance may have rotated the key. A key is made when it is first
used, and is durable before anything that was made with it is told. What happens to a key is no part of the call's
transaction: a call that fails has rotated it all the same.
"""

import base64
from collections.abc import Callable
from typing import TypeVar

from casemate.enclave.capabilities.key_rings import KeyRing, rules_for, use_key
from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.store.store import Store
from casemate.engines.questions.keys import KeyUse, UseKey
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.protocol.capabilities.keys import KeyRules
from casemate.wire.protocol.faults import Code, FaultError, refuse

_RETRIES = 16
"""How often another call or instance may be faster."""

T = TypeVar("T")


class KeysCapability:
    """Uses the keys of the manifest.

    Args:
        rules: the manifest's.
        store: the sealed state.
    """

    def __init__(self, rules: tuple[KeyRules, ...], store: Store) -> None:
        self._rules = {each.name: each for each in rules}
        self._store = store

    async def answer(self, question: UseKey, call: CallServices, deadline: float) -> bytes:
        """What the use gives: bytes as base64, true or false, a number, or an object; JSON."""
        rules = rules_for(question, self._rules)
        if question.use in (KeyUse.ROTATE, KeyUse.RETIRE):
            call.check_may_write()
        match question.use:
            case KeyUse.ROTATE:
                return encode_json(await self._change(rules, lambda ring: ring.rotated(rules), deadline))
            case KeyUse.RETIRE:
                version = question.version
                return encode_json(await self._change(rules, lambda ring: ring.retired(rules, version), deadline))
        ring = await self._change(rules, lambda ring: (ring, ring), deadline)
        said = use_key(question, rules, ring)
        return encode_json(base64.b64encode(said).decode() if isinstance(said, bytes) else said)

    async def _change(self, rules: KeyRules, change: Callable[[KeyRing], tuple[KeyRing, T]], deadline: float) -> T:
        """Makes a change on the newest state, durable when this returns; a key that is not there is made before."""
        name = f"key {rules.name}"
        for _ in range(_RETRIES):
            transaction = await self._store.begin(deadline)
            kept = transaction.get_own(name)
            ring = KeyRing.new(rules.algorithm) if kept is None else KeyRing.parse(kept)
            changed, said = change(ring)
            text = changed.encode()
            if text == kept:
                return said
            transaction.put_own(name, text)
            try:
                await transaction.commit(deadline)
            except FaultError as error:
                if error.fault.code is not Code.STATE_CONFLICT:
                    raise
            else:
                return said
        raise refuse(Code.STATE_CONFLICT, f"others change key {rules.name!r} faster than this call can: call again")
