"""Python functions in enclaves: launched, called, kept apart, and ended, with the bootstrap that comes along."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.workshop import NEEDS_LINUX, PolicyFor, Workshop, exact_policy

from casemate.client import Client, EnclaveRefusedError, HostRefusedError, connect
from casemate.client.caller_keys import CallerKey
from casemate.client.local import LocalMachine, local_machine
from casemate.testing.lone_spawner import late
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

CLONE = 56 if os.uname().machine == "x86_64" else 220
"""The system call's number: asm/unistd_64.h, or asm-generic/unistd.h, which AArch64 has."""

ALICE, BOB = CallerKey.generate(), CallerKey.generate()
SOURCE = """
import random
drawn = random.random()
seen = []

def main(input, context):
    seen.append(input)
    return {"seen": seen, "once": drawn, "now": random.random()}
"""


TRIES = 4
"""A busy computer may not let a guest say where it is in the time that there is for it."""
LOUD = """def loud(*_):
        for descriptor in range(3, 32):
            try: os.write(descriptor, bytes(99))
            except OSError: pass
    """


def image_of(workshop: Workshop, source: str = SOURCE, **more: Any) -> Any:
    callers = {"alice": ALICE.manifest_value, "bob": BOB.manifest_value}
    return workshop.image(source, engine=Engine.PYTHON, callers=callers, **more)


def test_callers_get_copies_that_have_met_nobody(client: Client, workshop: Workshop, policy_for: PolicyFor) -> None:
    image = image_of(workshop)
    number = client.launch(image)
    session = client.attest(number, policy_for(image))
    first = session.call("main", 1, caller=ALICE).value
    again = session.call("main", 2, caller=ALICE).value
    other = session.call("main", 3, caller=BOB).value
    assert (first["seen"], again["seen"], other["seen"]) == ([1], [1, 2], [3])
    assert first["once"] == again["once"] == other["once"]  # a module's body runs once an image
    assert len({first["now"], again["now"], other["now"]}) == 3
    client.destroy(number)


def test_a_call_each_gets_a_clean_copy(client: Client, workshop: Workshop, policy_for: PolicyFor) -> None:
    image = image_of(workshop, isolation=Isolation.CALL)
    number = client.launch(image)
    session = client.attest(number, policy_for(image))
    assert [session.call("main", call).value["seen"] for call in range(10)] == [[call] for call in range(10)]
    client.destroy(number)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("while True: pass", "not loaded in time"),
        ("import threading\nthreading.Thread(target=print).start()", "can't start new thread"),
        ("kept = [bytearray(1 << 20) for _ in range(10 ** 6)]", "MemoryError"),
        ("import ctypes\nctypes.CDLL(None).socket(2, 1, 0) == -1 or 1 / 0\nraise OSError('no socket')", "no socket"),
        (
            f"import ctypes\nwhile True: ctypes.CDLL(None).syscall({CLONE}, 0x8011, 0, 0, 0, 0)",
            "started a process of its own",
        ),
    ],
    ids=["endless", "threads", "memory", "sockets", "fork bomb"],
)
def test_a_program_that_misbehaves_while_it_is_loaded_is_not_launched(
    client: Client, workshop: Workshop, policy_for: PolicyFor, source: str, words: str
) -> None:
    honest = image_of(workshop)
    beside = client.launch(honest)
    session = client.attest(beside, policy_for(honest))
    assert session.call("main", 0, caller=ALICE).value["seen"] == [0]
    before = time.monotonic()
    with pytest.raises(HostRefusedError, match=words):
        client.launch(image_of(workshop, f"{source}\n{SOURCE}"))
    assert time.monotonic() - before < 12 + late()
    assert session.call("main", 1, caller=ALICE).value["seen"] == [0, 1]
    client.destroy(beside)


def test_a_call_that_never_ends_costs_its_caller_alone(
    client: Client, workshop: Workshop, policy_for: PolicyFor
) -> None:
    image = image_of(workshop, "def main(input, context):\n    while input: pass\n    return 1")
    number = client.launch(image)
    session = client.attest(number, policy_for(image))
    with pytest.raises(EnclaveRefusedError, match="time"):
        session.call("main", True, caller=ALICE)
    assert session.call("main", False, caller=BOB).value == 1
    assert session.call("main", False, caller=ALICE).value == 1
    client.destroy(number)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("while True: pass", r"; it was at guest/main.py:6:\d+\n    while True: pass\n +\^"),
        ("time.sleep(60)", r"; it was at guest/main.py:6:5\n    time.sleep\(60\)\n +\^"),
        ("sum(iter(int, 1))", ""),  # C code that never returns to the interpreter
        ("signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    while True: pass", ""),
        ("signal.signal(signal.SIGALRM, signal.SIG_DFL)\n    while True: pass", ""),
        (f"{LOUD}signal.signal(signal.SIGALRM, loud)\n    while True: pass", ""),
    ],
    ids=["loop", "sleep", "in C", "deaf", "dies of it", "speaks out of turn"],
)
def test_a_debug_enclave_says_where_a_call_was_whose_time_is_up(
    client: Client, workshop: Workshop, machine: LocalMachine, body: str, where: str
) -> None:
    image = image_of(
        workshop, f"import os\nimport signal\nimport time\n\ndef main(input, context):\n    {body}", debug=True
    )
    number = client.launch(image)
    session = client.attest(number, exact_policy(machine, image, debug=True))
    said = ""
    for _ in range(TRIES):
        before = time.monotonic()
        with pytest.raises(EnclaveRefusedError) as refused:
            session.call("main", 0, caller=ALICE)
        assert time.monotonic() - before < 1 + 0.5 + late()
        said = str(refused.value)
        if re.search(rf"time limit{where}\Z", said):
            break
    else:
        pytest.fail(said)
    client.destroy(number)


def test_without_a_layer_that_python_needs_its_functions_are_not_launched(tmp_path: Path, workshop: Workshop) -> None:
    settings = local_machine(tmp_path / "machine", layers=("seccomp=off",))
    with settings as machine, connect(machine.host_socket) as client:
        with pytest.raises(HostRefusedError, match="layer seccomp is off; Python functions run only with it"):
            client.launch(image_of(workshop))
        script = workshop.image("export function main(input) { return input; }")
        assert client.attest(client.launch(script), exact_policy(machine, script)).call("main", 5).value == 5
