"""The capability ``state``: the sealed state of ``[state]`` in the manifest."""

from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.store.answers import answer_of
from casemate.engines.questions.state import StateQuestion


class StateCapability:
    """Answers questions about the state out of the call's transaction."""

    async def answer(self, question: StateQuestion, call: CallServices, deadline: float) -> bytes:
        """The answer: JSON, or nothing where there is no value."""
        with call.using_state():
            return answer_of(await call.transaction(deadline), question)
