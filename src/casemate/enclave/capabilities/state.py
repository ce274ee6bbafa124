"""The capability ``state``: the sealed state of ``[state]`` in the manifest."""

from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.store.answers import answer_of
from casemate.engines.questions.state import GetState, ListState, StateQuestion


class StateCapability:
    """Answers questions about the state out of the call's transaction."""

    async def answer(self, question: StateQuestion, call: CallServices, deadline: float) -> bytes:
        """The answer: JSON, or nothing where there is no value.

        Raises:
            FaultError: ``guest-error``: a query would write; or as the transaction raises it.
        """
        if not isinstance(question, GetState | ListState):
            call.check_may_write()
        with call.using_state():
            return answer_of(await call.transaction(deadline), question)
