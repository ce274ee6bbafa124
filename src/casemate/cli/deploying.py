"""How one version of a function takes another's place: its state, its candidate, and the wait for the old one's end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.wire.errors import CasemateError
from casemate.wire.messages.verbs import CALL_TIMEOUT
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import Endpoint
    from casemate.client.sync import Client
    from casemate.images.image import Image
    from casemate.wire.messages.functions import FunctionIs
    from casemate.wire.messages.host import EnclaveIs

PERIOD = 0.2
"""Seconds between two looks at a replaced enclave that is about to end."""

MARGIN = 10.0
"""Seconds that the end of a replaced enclave may take beyond its time."""


class StateLeftError(CasemateError):
    """The new version cannot open the old one's sealed state."""

    advice = "--new-state deploys it all the same, with a state of its own; the old one's stays for `casemate rollback`"


class NoEarlierVersionError(CasemateError):
    """There is no version to go back to."""

    advice = "deploy the earlier version again: `casemate deploy IMAGE --name NAME`"


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands under a name before a version is deployed."""

    current: "EnclaveIs | None"
    bearing: int
    """How many enclaves bear the name, where none was deployed under it and so none is replaced."""


def standing(client: "Client", name: str) -> Standing:
    """What a name means now.

    Raises:
        HostRefusedError: the host refuses for another reason than that nothing, or too much, bears the name.
    """
    try:
        return Standing(client.function(name).current, 0)
    except FaultError as error:
        if error.fault.code not in (Code.UNKNOWN_ENCLAVE, Code.WRONG_STATE):
            raise
    return Standing(None, sum(each.name == name for each in client.enclaves()))


def is_same(image: "Image", tee: Tee, current: "EnclaveIs") -> bool:
    """Whether an enclave is this very code, of this signer and version, and runs."""
    signed = image.parse_sigstruct()
    debug = signed.attributes.debug
    ours = (image.mr_enclave, signed.mr_signer(), signed.isv_prod_id, signed.isv_svn, debug, tee)
    theirs = (current.mr_enclave, current.mr_signer, current.isv_prod_id, current.isv_svn, current.debug, current.tee)
    return ours == theirs and current.state is State.RUNNING


def check_state(image: "Image", tee: Tee, current: "EnclaveIs") -> None:
    """Refuses an image with sealed state that could not open what an enclave has sealed.

    Raises:
        StateLeftError: it says why.
    """
    rules, signed = image.contents().manifest.state, image.parse_sigstruct()
    if rules is None:
        return
    of = f"the state of enclave {current.enclave}"
    differing = [
        (tee is not current.tee, f"{of} is sealed in {current.tee}, and the new version is to run as {tee}"),
        (signed.attributes.debug != current.debug, f"{of} is kept apart, since one of the two is a debug enclave"),
    ]
    if rules.binding is SealBinding.MRENCLAVE:
        other = image.mr_enclave != current.mr_enclave
        differing.append((other, f'{of} is sealed to its MRENCLAVE ([state] policy = "mrenclave"), which changes'))
    else:
        ours, theirs = (signed.mr_signer(), signed.isv_prod_id), (current.mr_signer, current.isv_prod_id)
        differing.append((ours != theirs, f"{of} is sealed to another signer or product"))
        older = signed.isv_svn < current.isv_svn
        said = f"security version {signed.isv_svn} cannot open what {current.isv_svn} has sealed"
        differing.append((older, f"{of}: {said}"))
    for differs, reason in differing:
        if differs:
            raise StateLeftError(reason)


@contextmanager
def candidate(endpoint: "Endpoint", client: "Client", image: "Image", tee: Tee, owner: bytes | None) -> Iterator[int]:
    """Launches an enclave that may replace another, which has this owner.

    It is destroyed where the block fails, unless it may be current.

    A host that does not answer the switch may have made it: then the candidate is left to it, which gives up by itself
    one that nobody has switched to.
    """
    number = client.launch(image, candidate=True, tee=tee, owner=owner)
    try:
        yield number
    except UncertainSwitchError:
        raise
    except BaseException:
        # By a connection of its own: after Ctrl-C or an error, an answer to something else may wait on the other one.
        with suppress(CasemateError), endpoint.connect() as another:
            another.destroy(number)
        raise


class UncertainSwitchError(CasemateError):
    """The host did not say whether it has switched."""

    advice = "`casemate ps` shows which enclave answers to the name now"


def switch(client: "Client", name: str, number: int, *, replaces: int, drain: int) -> "FunctionIs":
    """Switches a name to an enclave.

    Raises:
        HostRefusedError: nothing was switched.
        UncertainSwitchError: no answer came.
    """
    try:
        return client.switch(name, number, replaces=replaces, drain=drain)
    except FaultError:
        raise
    except (CasemateError, KeyboardInterrupt) as error:
        said = str(error) or "interrupted"
        raise UncertainSwitchError(f"whether {name} is enclave {number} now is not known: {said}") from None


def wait_for_end(client: "Client", replaced: int, drain: int) -> "EnclaveIs | None":
    """Returns when a replaced enclave has ended; the host's words about it, or None where it is destroyed already.

    One that outlives its time is shown as it is.
    """
    deadline = time.monotonic() + drain + CALL_TIMEOUT + MARGIN
    while True:
        found = next((each for each in client.enclaves() if each.enclave == replaced), None)
        if found is None or found.state is not State.RUNNING or time.monotonic() > deadline:
            return found
        time.sleep(PERIOD)
