"""Every hostile Python guest through the whole chain: a typed answer in time, and nothing else takes harm."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.in_time import assert_in_time
from tests.rigs.process_tree import is_alive
from tests.rigs.workshop import PolicyFor, Workshop

from casemate.client import Client, Enclave, EnclaveRefusedError, HostRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.testing.hostile_guests import OK, HostileGuest
from casemate.testing.hostile_python import (
    AT_IMPORT,
    BEFORE_COPIES,
    ENDS,
    ESCAPES,
    FRAMES,
    HOSTILE_PYTHON,
    LONELY,
    SPEAKS,
    USES_UP,
    frames_source,
    lonely_source,
    raw_head,
)
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

LIMIT = 0.3
GRACE = 0.5
"""What the project promises beyond the time limit (seconds)."""
LOADING = 15
"""Longest launch of an image whose code does not finish loading (seconds)."""
THE_ENCLAVES_OWN = (Code.TIME_LIMIT, Code.RESULT_REFUSED)


@pytest.fixture(autouse=True)
def no_process_is_left(machine: LocalMachine, client: Client) -> Iterator[None]:
    """Whatever a guest did, all of its processes end with its enclave."""
    yield
    for shown in client.enclaves():
        if shown.state is State.RUNNING:
            client.destroy(shown.enclave)
    deadline = time.monotonic() + 30
    while not (left := sessions_of_images(machine)) <= {1} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left <= {1}, "one image process may stand ready"
    for pid in (machine.status.chip_pid, machine.status.host_pid, machine.status.supervisor_pid):
        assert is_alive(pid)


def sessions_of_images(machine: LocalMachine) -> set[int]:
    """How many processes each session below the spawner has."""
    counts: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(") ")[2].split()
                parent, session = int(fields[1]), int(fields[3])
                chip = int(Path(f"/proc/{parent}/stat").read_text().rpartition(") ")[2].split()[1])
            except (OSError, IndexError):
                continue
            if chip == machine.status.chip_pid and session != os.getsid(machine.status.chip_pid):
                counts[session] = counts.get(session, 0) + 1
    return set(counts.values())


def outcome_of(enclave: Enclave, argument: object) -> tuple[str, object]:
    try:
        return OK, enclave.call("main", argument).value
    except EnclaveRefusedError as refused:
        return refused.fault.code, None


@pytest.mark.parametrize("guest", HOSTILE_PYTHON, ids=lambda guest: guest.name)
def test_a_hostile_guest_harms_its_own_call_alone(
    guest: HostileGuest, workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(
        guest.source, engine=Engine.PYTHON, time_ms=int(LIMIT * 1000), output_kib=256, isolation=Isolation.SHARED
    )
    began = time.monotonic()
    if guest.fails_to_load:
        with pytest.raises(HostRefusedError) as refused:
            client.launch(image)
        assert refused.value.fault.code in guest.outcomes, refused.value
        assert time.monotonic() - began < LOADING
        return
    enclave = client.attest(client.launch(image), policy_for(image))
    for argument, outcomes in ((None, guest.outcomes), ("again", (*guest.outcomes, *guest.then))):

        def call(argument: str | None = argument, outcomes: tuple[str, ...] = outcomes) -> None:
            code, value = outcome_of(enclave, argument)
            assert code in (*outcomes, *THE_ENCLAVES_OWN), (code, value)
            if code == OK and guest.result is not None:
                assert value == guest.result

        assert_in_time(call, LIMIT + GRACE)
    state = next(shown.state for shown in client.enclaves() if shown.enclave == enclave.number)
    assert state is State.RUNNING


def test_calls_that_a_guest_has_no_business_with_are_refused_or_its_end(
    workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(lonely_source(), engine=Engine.PYTHON, isolation=Isolation.CALL)
    enclave = client.attest(client.launch(image), policy_for(image))
    outcomes = {case: outcome_of(enclave, number) for number, case in enumerate(LONELY)}
    allowed = ((OK, True), (Code.GUEST_CRASHED, None))
    assert {case: outcome for case, outcome in outcomes.items() if outcome not in allowed} == {}


def test_frames_that_no_bootstrap_sends_end_the_call_alone(
    workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(frames_source(), engine=Engine.PYTHON, output_kib=256, isolation=Isolation.CALL)
    enclave = client.attest(client.launch(image), policy_for(image))
    outcomes = {case: outcome_of(enclave, number)[0] for number, case in enumerate(FRAMES)}
    assert {case: code for case, code in outcomes.items() if code not in FRAMES[case][1]} == {}


def test_the_cases_are_of_all_kinds() -> None:
    for kind in (USES_UP, ENDS, ESCAPES, LONELY, SPEAKS, FRAMES, AT_IMPORT, BEFORE_COPIES):
        assert len(kind) >= 6
    names = [guest.name for guest in HOSTILE_PYTHON]
    assert len(names) == len(set(names))


def test_what_guests_tried_to_write_is_not_there() -> None:
    assert not Path("/tmp/casemate-was-here").exists()


SCAN = (
    raw_head()
    + """
import gc


def main(input, context):
    if input["keep"]:
        global kept
        kept = [[input["keep"] * 10] for _ in range(100)]  # beside lists of which the collector knows
        return len(kept)
    first, second = input["first"].encode(), input["second"].encode()  # never in one piece, or it would find itself
    found = 0
    for place in sorted({id(thing) & ~0xFFFFF for thing in gc.get_objects()}):
        for page in range(place, place + 0x100000, 4096):
            if raw("rt_sigprocmask", 99, page, 0, 8) == -22:  # EINVAL, for 99; EFAULT where nothing is mapped
                text = ctypes.string_at(page, 4096)
                at = text.find(first)
                while at >= 0:
                    found += text[at + len(first) : at + len(first) + len(second)] == second
                    at = text.find(first, at + 1)
    return found
"""
)


def test_a_guest_finds_no_word_of_another_caller_or_of_its_machine_s_place_in_its_memory(
    workshop: Workshop, machine: LocalMachine, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(SCAN, engine=Engine.PYTHON, time_ms=20_000)
    number = client.launch(image)
    first, second = "a very secret ", "word " + os.urandom(8).hex()
    scan = {"keep": "", "first": first, "second": second}
    alice = client.attest(number, policy_for(image))
    assert alice.call("main", {"keep": first + second}).value == 100
    assert alice.call("main", scan).value > 0, "the scan finds what is there"
    with connect(machine.host_socket) as other:
        bob = other.attest(number, policy_for(image))
        assert bob.call("main", scan).value == 0
        where = str(Path.cwd())
        assert bob.call("main", {"keep": "", "first": where[:5], "second": where[5:]}).value == 0, "nor the machine's"


FLAGS = """
import fcntl, os


def main(input, context):
    before = {}
    for number in range(32):
        try:
            before[str(number)] = fcntl.fcntl(number, fcntl.F_GETFL)
            fcntl.fcntl(number, fcntl.F_SETFL, before[str(number)] ^ (os.O_NONBLOCK | os.O_APPEND))
        except OSError:
            pass
    if not input:
        os._exit(0)  # what it has changed of its own pipes would keep it from answering
    for number, flags in before.items():
        fcntl.fcntl(int(number), fcntl.F_SETFL, flags)
    return before
"""


def test_what_a_guest_does_to_its_descriptors_no_other_guest_sees(
    workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    """Flags of an open file are those of all who have it: a guest could write there what another one reads."""
    image = workshop.image(FLAGS, engine=Engine.PYTHON, isolation=Isolation.CALL)
    enclave = client.attest(client.launch(image), policy_for(image))
    before = enclave.call("main", True).value
    assert len(before) >= 5
    assert outcome_of(enclave, None) == (Code.GUEST_CRASHED, None)
    assert enclave.call("main", True).value == before


def test_two_guests_draw_different_random_numbers(workshop: Workshop, client: Client, policy_for: PolicyFor) -> None:
    image = workshop.image(
        "import random, os, secrets, uuid\nrandom.seed(1)\nmade = random.Random()\n\n\n"
        "def main(input, context):\n"
        "    return [random.random(), os.urandom(8).hex(), secrets.token_hex(8), str(uuid.uuid4())]\n",
        engine=Engine.PYTHON,
        isolation=Isolation.CALL,
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    drawn = [enclave.call("main", None).value for _ in range(5)]
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == len(drawn)


def test_others_are_served_while_guests_do_their_worst(
    workshop: Workshop, machine: LocalMachine, client: Client, policy_for: PolicyFor
) -> None:
    """A caller of an enclave beside it keeps getting answers."""
    good_image = workshop.image("def main(input, context):\n    return input\n", engine=Engine.PYTHON)
    good = client.attest(client.launch(good_image), policy_for(good_image))
    sources = [guest.source for guest in USES_UP[:8]]
    images = [
        workshop.image(source, engine=Engine.PYTHON, time_ms=1000, product_id=number)
        for number, source in enumerate(sources)
    ]

    def worst() -> None:
        with connect(machine.host_socket) as other:
            for image in images:
                number = other.launch(image)
                outcome_of(other.attest(number, policy_for(image)), None)
                other.destroy(number)

    thread = threading.Thread(target=worst)
    thread.start()
    times: list[float] = []
    while thread.is_alive():
        began = time.monotonic()
        assert good.call("main", len(times)).value == len(times)
        times.append(time.monotonic() - began)
    thread.join()
    assert len(times) > 100
    assert statistics.quantiles(times, n=100)[98] < 0.5
