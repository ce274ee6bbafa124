"""Streams through whole machines: more than an enclave's memory, other callers in between, bounded memory here."""

import hashlib
import resource

import pytest
from tests.rigs.stream_functions import ENTRIES, FINISHES, SOURCES, STREAM, chunks, digest
from tests.rigs.workshop import NEEDS_LINUX, PolicyFor, Workshop

from casemate.client import Client, EnclaveRefusedError, check_receipt
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine


def peak_memory() -> int:
    """The most that this process ever had in memory (bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def through(client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor, mebibytes: int) -> None:
    image = workshop.image(SOURCES[engine], engine=engine, entries=ENTRIES, memory_mib=64, time_ms=10_000)
    policy = policy_for(image)
    enclave = client.attest(client.launch(image), policy)
    before = peak_memory()
    came = hashlib.sha256()
    with enclave.stream("through", {"echo": True}, chunks(mebibytes)) as stream:
        for piece in stream:
            came.update(piece)
    assert came.hexdigest() == digest(mebibytes)
    assert stream.result.value == {"pieces": mebibytes, "size": mebibytes * MAX_CHUNK, "caller": None}
    checked = check_receipt(stream.result.receipt, policy)
    assert checked.output is not None
    assert came.hexdigest() in checked.output
    assert peak_memory() - before < 64 * MAX_CHUNK
    client.destroy(enclave.number)


def test_more_than_the_enclaves_memory_goes_through(
    client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor
) -> None:
    through(client, workshop, engine, policy_for, 96)


@pytest.mark.nightly("a GiB through a stream takes a minute; `make test` sends less")
def test_a_gibibyte_goes_through(client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor) -> None:
    through(client, workshop, engine, policy_for, 1024)


def test_streams_and_calls_of_one_session_take_turns(
    client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor
) -> None:
    image = workshop.image(SOURCES[engine], engine=engine, entries=ENTRIES)
    enclave = client.attest(client.launch(image), policy_for(image))
    one = enclave.stream("through", {"echo": True}, [b"a", b"b"])
    other = enclave.stream("counts", {"to": 300_000})
    ones, others = iter(one), iter(other)
    assert next(ones) == b"a"
    first = next(others)
    assert enclave.call("main", {"n": 1}).value == {"n": 1}
    assert list(ones) == [b"b"]
    text = first + b"".join(others)
    assert text == b"".join(b"%d\n" % number for number in range(300_000))
    assert one.result.value["pieces"] == 2
    client.destroy(enclave.number)


def test_abandoned_streams_do_not_use_up_the_enclave(
    client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor
) -> None:
    image = workshop.image(SOURCES[engine], engine=engine, entries=ENTRIES)
    enclave = client.attest(client.launch(image), policy_for(image))
    for _ in range(40):
        for _piece in enclave.stream("through", {"echo": True}, [b"a", b"b"]):
            break
    with pytest.raises(EnclaveRefusedError) as caught:
        enclave.call("through", {})
    assert caught.value.fault.code is Code.ARGUMENTS_REFUSED
    client.destroy(enclave.number)


@NEEDS_LINUX
def test_an_asynchronous_python_stream_ends_with_a_result(
    client: Client, workshop: Workshop, policy_for: PolicyFor
) -> None:
    output = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer", "maximum": 9}}}
    image = workshop.image(FINISHES, engine=Engine.PYTHON, entries={"main": {**STREAM, "output": output}})
    policy = policy_for(image)
    enclave = client.attest(client.launch(image), policy)
    with enclave.stream("main", 1, [b"ab", b"cde"]) as stream:
        assert b"".join(stream) == b"ABCDE"
    assert stream.result.value == {"size": 5}
    checked = check_receipt(stream.result.receipt, policy)
    assert checked.output is not None
    assert hashlib.sha256(b"ABCDE").hexdigest() in checked.output
    for times, pieces, code in (
        (1, [b"x" * 10], Code.RESULT_REFUSED),  # by the schema, as any result
        (0, [b"x"], Code.RESULT_REFUSED),  # null, which the schema refuses
        (2, [b"x"], Code.GUEST_ERROR),
    ):
        with pytest.raises(EnclaveRefusedError) as caught, enclave.stream("main", times, pieces) as stream:
            b"".join(stream)
        assert caught.value.fault.code is code
        assert "finish" not in caught.value.fault.reason, "outside of debug enclaves nobody is told"
    client.destroy(enclave.number)
