"""The process of one VM: it serves the chip and the hypervisor until one of them is gone."""

import os
import select

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.numbered_frames import numbered_reply, split
from casemate.sandbox.confinement import confine_vm
from casemate.sandbox.errors import LayerRequiredError
from casemate.vm.alarm import Alarm
from casemate.vm.errors import (
    AccessError,
    CommandError,
    DramError,
    RequestError,
    RmpViolationError,
    VmsaInvalidError,
)
from casemate.vm.silicon import VmSilicon
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.hypervisor import (
    DebugLoad,
    DebugRegisters,
    Done,
    HostLoad,
    HostStore,
    MapNested,
    MemoryIs,
    Pause,
    RmpIs,
    RmpRead,
    RmpUpdate,
    Vmrun,
)
from casemate.wire.messages.vm.silicon import AddPages, Finish, Finished, PageIs, PagesAdded, PowerOn, ReadPage, Ready
from casemate.wire.protocol.faults import Code, Fault, encode_reply, fault

ANSWER_TIME = 10.0
"""Seconds that a peer may take to read an answer."""

_OF_CHIP = (AddPages, ReadPage, Finish)
_OF_HYPERVISOR = (
    RmpUpdate,
    MapNested,
    HostStore,
    HostLoad,
    DebugLoad,
    RmpRead,
    Vmrun,
    Pause,
    DebugRegisters,
)
_REFUSED: dict[type[Exception], Code] = {
    RmpViolationError: Code.RMP_FAULT,
    RequestError: Code.WRONG_STATE,
    CommandError: Code.FIRMWARE_REFUSED,
    VmsaInvalidError: Code.WRONG_STATE,
    AccessError: Code.WRONG_STATE,
    DramError: Code.UNAVAILABLE,
}


class VmProcess:
    """One VM and its two links."""

    def __init__(self, chip: Channel, hypervisor: Channel, dram: int) -> None:
        self._chip = chip
        self._hypervisor = hypervisor
        self._dram = dram
        self._running = False
        self._paused = False

    def run(self) -> None:
        """Serves until one of the two is gone, or breaks the protocol."""
        try:
            powered = self._power_on()
            if powered is not None:
                self._serve(*powered)
        except (PeerGoneError, TimedOutError, WireError):
            return

    def _power_on(self) -> tuple[VmSilicon, Alarm] | None:
        power: object = parse_message(self._chip.receive().payload, PowerOn)
        assert isinstance(power, PowerOn)  # noqa: S101 - parse_message has no other
        try:
            silicon = VmSilicon(power, self._dram)
            alarm = Alarm((self._chip.fileno(), self._hypervisor.fileno()), silicon.stop)
            layers = confine_vm(power.layers, memory=silicon.memory, dram=silicon.dram_size)
        except RequestError as error:
            self._tell_chip(fault(Code.MALFORMED, str(error)))
            return None
        except LayerRequiredError as error:
            self._tell_chip(fault(Code.UNAVAILABLE, str(error)))
            return None
        alarm.start()
        self._tell_chip(Ready(layers))
        return silicon, alarm

    def _serve(self, silicon: VmSilicon, alarm: Alarm) -> None:
        poll = select.poll()
        poll.register(self._chip.fileno(), select.POLLIN)
        poll.register(self._hypervisor.fileno(), select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self._chip.fileno():
                    self._answer_chip(silicon)
                else:
                    self._answer_hypervisor(silicon, alarm)

    def _answer_chip(self, silicon: VmSilicon) -> None:
        question: object = parse_message(self._chip.receive().payload, *_OF_CHIP)
        try:
            match question:
                case AddPages():
                    answer: object = PagesAdded(silicon.add_pages(question))
                case ReadPage(spa):
                    answer = PageIs(silicon.read_page(spa))
                case _:
                    silicon.finish()
                    answer = Finished()
        except (CommandError, DramError) as error:
            answer = _fault_of(error)
        self._tell_chip(answer)

    def _answer_hypervisor(self, silicon: VmSilicon, alarm: Alarm) -> None:
        frame = self._hypervisor.receive(timeout=ANSWER_TIME)
        for descriptor in frame.descriptors:
            os.close(descriptor)
        number, message = split(frame.payload)
        try:
            answer = self._done(parse_message(message, *_OF_HYPERVISOR), silicon, alarm)
        except WireError as error:
            answer = fault(Code.MALFORMED, str(error))
        except tuple(_REFUSED) as error:
            answer = _fault_of(error)
        self._hypervisor.send(numbered_reply(number, answer), timeout=ANSWER_TIME)

    def _done(self, question: object, silicon: VmSilicon, alarm: Alarm) -> object:
        match question:
            case RmpUpdate():
                silicon.update_rmp(question)
                return Done()
            case MapNested(gpa, spa, count):
                silicon.map_nested(gpa, spa, count)
                return Done()
            case HostStore(spa, content):
                silicon.host_store(spa, content)
                return Done()
            case HostLoad(spa, size):
                return MemoryIs(silicon.host_load(spa, size))
            case DebugLoad(gpa, size):
                return MemoryIs(silicon.debug_load(gpa, size))
            case RmpRead(spa, count):
                return RmpIs(silicon.read_rmp(spa, count))
            case DebugRegisters(vmsa):
                return MemoryIs(silicon.debug_registers(vmsa))
            case Pause():
                self._paused = True
                return Done()
            case Vmrun():
                return self._run(question, silicon, alarm)
        raise RequestError("no request of a hypervisor")

    def _run(self, wanted: Vmrun, silicon: VmSilicon, alarm: Alarm) -> object:
        if self._running:
            raise RequestError("a vCPU of this VM is running already")
        self._running, self._paused = True, False
        try:
            return silicon.run(wanted, alarm, lambda: self._serve_meanwhile(silicon, alarm))
        finally:
            self._running = False

    def _serve_meanwhile(self, silicon: VmSilicon, alarm: Alarm) -> bool:
        """Answers what came while a vCPU ran; True if the run has to end."""
        poll = select.poll()
        poll.register(self._chip.fileno(), select.POLLIN)
        poll.register(self._hypervisor.fileno(), select.POLLIN)
        for number, _ in poll.poll(0):
            if number == self._chip.fileno():
                self._answer_chip(silicon)
            else:
                self._answer_hypervisor(silicon, alarm)
        return self._paused

    def _tell_chip(self, message: object) -> None:
        self._chip.send(encode_reply(message), timeout=ANSWER_TIME)


def _fault_of(error: Exception) -> Fault:
    code = next(code for kind, code in _REFUSED.items() if isinstance(error, kind))
    return fault(code, str(error))
