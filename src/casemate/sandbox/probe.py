"""Which layers this platform offers: a child tries each of them."""

import os
from dataclasses import dataclass

from casemate.sandbox.cgroup import Group, find_places
from casemate.sandbox.confinement import NoGroup, confine, prepare_enclave
from casemate.sandbox.errors import UnavailableError
from casemate.wire.encodings.message import encode_fields, parse_fields
from casemate.wire.errors import WireError
from casemate.wire.protocol.sandbox_layers import Layer


@dataclass(frozen=True, slots=True)
class Report:
    """The result of the trial, as the child sends it."""

    layers: tuple[Layer, ...]


def probe() -> tuple[Layer, ...]:
    """The layers that an enclave would get on this platform; the caller, which must have one thread, stays unconfined.

    Raises:
        UnavailableError: the child died during the trial.
    """
    confinement = prepare_enclave()
    group = find_group(f"casemate-{os.getpid()}-probe")
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, encode_fields(Report(confine(confinement, (), parent=parent, group=group))))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        report = output.read()
    _, status = os.waitpid(pid, 0)
    if isinstance(group, Group):
        group.remove()
    try:
        return parse_fields(Report, report).layers
    except WireError:
        raise UnavailableError(f"the trial ended with status {os.waitstatus_to_exitcode(status)}") from None


def find_group(name: str, *, memory: int | None = None, threads: int | None = None) -> Group | NoGroup:
    """A new control group below this process's own, limited in bytes and threads; or why there is none."""
    try:
        group = Group(find_places(), name)
        group.make()
    except UnavailableError as error:
        return NoGroup(str(error))
    try:
        group.limit(memory=memory, threads=threads)
    except UnavailableError as error:
        group.remove()
        return NoGroup(str(error))
    return group
