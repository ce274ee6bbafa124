"""Guests of a whole machine of one's own, which prove themselves by way of its host."""

from dataclasses import replace
from functools import cached_property

from casemate.client import Client
from casemate.client.local import LocalMachine
from casemate.testing.hostile.machine import launch_message
from casemate.testing.hostile.prover import SignedIdBlock
from casemate.verifier import SimulatedRoot, SnpEndorsements, SnpEvidence
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.messages.control import SnpRootIs
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.mode import VmMode

ADVISORY = "SIM-SB-00007"


class MachineProver:
    """A :class:`~casemate.testing.hostile.prover.Prover`."""

    def __init__(self, machine: LocalMachine, client: Client, mode: VmMode) -> None:
        """Uses a machine, to whose host ``client`` is connected; :meth:`recover` changes it for good."""
        self.mode = mode
        self.seeded = machine.status.seeded
        self._machine = machine
        self._vms = client.vms
        self._certificates = b""

    @property
    def root(self) -> SimulatedRoot:
        return SimulatedRoot.of(self._maker.root_certificate)

    def prove(self, image: bytes, report_data: bytes, identity: SignedIdBlock | None = None) -> SnpEvidence | None:
        wanted = launch_message("report", image, self.mode)
        if identity is not None:
            wanted = replace(wanted, id_block=identity.block, id_auth=identity.auth)
        vm = self._vms.launch(wanted).vm
        try:
            evidence = self._vms.attest(vm, report_data)
        except FaultError as error:
            if error.fault.code is not Code.WRONG_STATE:
                raise
            return None  # the guest ends without having handed one out
        finally:
            self._vms.destroy(vm)
        self._certificates = evidence.certificates
        return SnpEvidence(evidence.report)

    def endorsements(self) -> SnpEndorsements:
        """The endorsements that came with the last report."""
        leaf, *above = (block.der for block in parse_chain("certificates", self._certificates))
        return SnpEndorsements(leaf, encode_chain(*above), self._maker.revocation_list)

    def recover(self) -> None:
        self._machine.snp.recover_tcb(ADVISORY)
        self._machine.snp.update_firmware(commit=True)

    @cached_property
    def _maker(self) -> SnpRootIs:
        return self._machine.snp.root()
