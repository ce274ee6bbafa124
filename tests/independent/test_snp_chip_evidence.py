"""Reports of our own chips, certified by our own maker, before omne-attest: of each product and version, by each key.

It judges Milan's and Genoa's VCEKs in full. Of the others it checks both signatures, report's and chain's, and then
stops for reasons of its own: it has no Turin layout, and wants a chip's id in the key's certificate and in the report.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import omne_attest.snp as theirs
import pytest
from sevsnpmeasure.guest import calc_launch_digest
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType

from casemate.chip.snp.certification import SnpCertification
from casemate.chip.snp.platform import SnpPlatform
from casemate.cli.snp.policies import Maker
from casemate.cli.vm.launch import Launching, launch_message
from casemate.cli.vm.policies import digest_of_launch, vm_policy
from casemate.client import Client, connect
from casemate.client.local import LocalMachine, local_machine
from casemate.images.vm.builtin import GUESTS, firmware
from casemate.testing.snp_maker import SnpMaker, snp_chip, snp_guest, snp_office
from casemate.verifier import RefusedError, Rule, SnpEndorsements, SnpEvidence, appraise_snp
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.messages.vm.host import LaunchVm, VmEvidenceIs
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import SIGNED_SIZE, SigningKey, SnpReport
from casemate.wire.snp.simulated_platform import REPORT_VERSIONS
from casemate.wire.snp.tcb import Product
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CSP = "CN=cloud.example"
THEIR_VMMS = {Vmm.QEMU: VMMType.QEMU, Vmm.EC2: VMMType.ec2, Vmm.GCE: VMMType.gce}
CHALLENGE = bytes(range(64))
KINDS = [(product, version) for product in Product for version in REPORT_VERSIONS[product]]


@dataclass(frozen=True)
class Judged:
    """A report and its chain, for them."""

    report: bytes
    chain: bytes
    measurement: bytes
    report_data: bytes

    def verdict(self, report: bytes | None = None) -> theirs.FailKind | None:
        """Of the whole appraisal; None where they accept."""
        leaf, issuer, root = (block.der for block in parse_chain("chain", self.chain))
        policy = theirs.Policy(measurement=self.measurement, report_data=self.report_data)
        try:
            theirs.verify(report or self.report, leaf, issuer, root, hashlib.sha256(root).digest(), policy)
        except theirs.Fail as refusal:
            return refusal.kind
        return None

    def check_signatures(self) -> None:
        """Both, which hold whatever the rest says."""
        leaf, issuer, root = (block.der for block in parse_chain("chain", self.chain))
        theirs.Report.parse(self.report).verify_signature(leaf)
        theirs.verify_chain(leaf, issuer, root, hashlib.sha256(root).digest())

    def check_changes(self) -> None:
        """A bit of each field, of the signature, and of a certificate's signature."""
        for span in SnpReport.parse(self.report).spans():
            if span.offset >= SIGNED_SIZE and span.name == "reserved":
                continue  # after the signature: they do not look there, and we demand zeros
            damaged = bytearray(self.report)
            damaged[span.offset] ^= 1
            assert self.verdict(bytes(damaged)) is not None, span.name
        leaf, issuer, root = (block.der for block in parse_chain("chain", self.chain))
        forged = Judged(self.report, encode_chain(leaf[:-1] + bytes([leaf[-1] ^ 1]), issuer, root), b"", b"")
        assert forged.verdict() is theirs.FailKind.CHAIN_SIGNATURE


def expected(product: Product, kind: SigningKey, *, masked: bool) -> theirs.FailKind | None:
    """What they say to honest evidence of this kind."""
    if kind is SigningKey.VLEK:
        return theirs.FailKind.MISSING_EXTENSION
    if masked or product is Product.TURIN:
        return theirs.FailKind.CHIP_ID_MISMATCH
    return None


def chip_whose_id_they_read(folder: Path, maker: SnpMaker, version: int) -> tuple[SnpPlatform, SnpCertification]:
    """A chip. Its certificate has the bare id, which they take for DER where it begins as an OCTET STRING does."""
    made = snp_chip(Path(tempfile.mkdtemp(dir=folder)), maker, version)
    return chip_whose_id_they_read(folder, maker, version) if made[0].hw_id.startswith(b"\x04") else made


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", [SigningKey.VCEK, SigningKey.VLEK])
@pytest.mark.parametrize(("product", "version"), KINDS)
def test_every_kind_of_report_is_judged_as_far_as_they_can(
    tmp_path: Path,
    product: Product,
    version: int,
    kind: SigningKey,
    masked: bool,
) -> None:
    maker = SnpMaker(snp_office(product, NOW), NOW)
    platform, certification = chip_whose_id_they_read(tmp_path, maker, version)
    platform.set_config(bytes(8), mask_chip_id=masked)
    if kind is SigningKey.VLEK:
        asyncio.run(certification.load_vlek(CSP))
    chain = asyncio.run(certification.certificates())
    guest = snp_guest(platform)
    report = platform.report(guest, platform.choose(KeySelect.EITHER))
    assert (report.version, report.signing_key, any(report.chip_id)) == (version, kind, not masked)
    judged = Judged(report.encode(), chain, guest.measurement, guest.report_data)
    judged.check_signatures()
    assert judged.verdict() is expected(product, kind, masked=masked)
    judged.check_changes()


def report_guest(vcpus: int = 1) -> LaunchVm:
    return launch_message(
        Launching(
            guest="report",
            mode=VmMode.SEV_SNP,
            memory_mib=16,
            vcpus=vcpus,
            vcpu_type="EPYC-Milan",
            vmm=Vmm.QEMU,
            debug=False,
            host_data=None,
            kernel=None,
            initrd=None,
            append="",
            id_block=None,
            id_auth=None,
            author_key=False,
            finish=True,
            name=None,
        )
    )


def product_of_a_machine(product: Product, version: int, *, nightly: bool = True) -> Any:
    mark = pytest.mark.nightly("half a minute a product; the reports of all are judged above, without a machine")
    return pytest.param((product, version), id=f"{product} {version}", marks=mark if nightly else ())


@pytest.fixture(
    params=[
        product_of_a_machine(Product.MILAN, 2),
        product_of_a_machine(Product.GENOA, 3),
        product_of_a_machine(Product.TURIN, 5, nightly=False),
    ]
)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalMachine]:
    product, version = request.param
    with local_machine(tmp_path / "machine", snp_product=product, snp_report=version) as machine:
        status = machine.snp.status()
        assert (status.product, status.report_version) == (product, version)
        yield machine


def accept(machine: LocalMachine, wanted: LaunchVm, said: VmEvidenceIs, kind: SigningKey) -> None:
    """By us, under the policy that the machine's owner is given."""
    policy = vm_policy(wanted, Maker(machine.snp.root(), machine.status.seeded, kind)).with_report_data(CHALLENGE)
    leaf, *above = (block.der for block in parse_chain("chain", said.certificates))
    appraise_snp(
        SnpEvidence(said.report),
        policy,
        SnpEndorsements(leaf, encode_chain(*above), said.revocation_list),
        datetime.now(UTC),
    )


def attested(client: Client, wanted: LaunchVm) -> tuple[VmEvidenceIs, Judged]:
    vm = client.vms.launch(wanted)
    assert vm.digest == digest_of_launch(wanted)
    said = client.vms.attest(vm.vm, CHALLENGE)
    client.vms.destroy(vm.vm)
    return said, Judged(said.report, said.certificates, vm.digest, CHALLENGE)


@pytest.mark.machine
def test_guests_of_a_running_machine_are_judged_from_birth_to_revocation(machine: LocalMachine) -> None:
    wanted, levers = report_guest(), machine.snp
    product = Product(levers.status().product)
    with connect(machine.host_socket) as client:
        said, judged = attested(client, wanted)
        accept(machine, wanted, said, SigningKey.VCEK)
        assert judged.verdict() is expected(product, SigningKey.VCEK, masked=False)
        judged.check_changes()

        old = said
        levers.recover_tcb("AMD-SB-99001")
        with pytest.raises(RefusedError) as refused:
            accept(machine, wanted, old, SigningKey.VCEK)
        assert refused.value.rule is Rule.SNP_TCB_REPORTED
        levers.update_firmware(commit=False)
        levers.commit()
        said, judged = attested(client, wanted)
        accept(machine, wanted, said, SigningKey.VCEK)
        assert said.certificates != old.certificates
        assert judged.verdict() is expected(product, SigningKey.VCEK, masked=False)

        levers.configure(bytes(8), mask_chip_id=True)
        said, judged = attested(client, wanted)
        accept(machine, wanted, said, SigningKey.VCEK)
        assert judged.verdict() is theirs.FailKind.CHIP_ID_MISMATCH

        assert levers.load_vlek(CSP).provider == CSP
        said, judged = attested(client, wanted)
        accept(machine, wanted, said, SigningKey.VLEK)
        judged.check_signatures()
        assert judged.verdict() is theirs.FailKind.MISSING_EXTENSION

        levers.revoke(provider=CSP)
        said, _ = attested(client, wanted)
        with pytest.raises(RefusedError) as refused:
            accept(machine, wanted, said, SigningKey.VLEK)
        assert refused.value.rule is Rule.REVOKED_SNP_SIGNER


@pytest.mark.machine
def test_a_running_chip_measures_built_in_guests_as_sev_snp_measure_does(tmp_path: Path) -> None:
    with local_machine(tmp_path / "machine") as machine, connect(machine.host_socket) as client:
        for name in GUESTS:
            (tmp_path / name).write_bytes(firmware(name))
            for vmm, vcpus in ((Vmm.QEMU, 1), (Vmm.EC2, 2), (Vmm.GCE, 4)):
                wanted = replace(report_guest(vcpus), firmware=firmware(name), vmm=vmm)
                vm = client.vms.launch(wanted)
                client.vms.destroy(vm.vm)
                ovmf, signature = str(tmp_path / name), VCPU_TYPES["EPYC-Milan"]
                measured = calc_launch_digest(
                    SevMode.SEV_SNP, vcpus, signature, ovmf, "", "", "", 0x1, vmm_type=THEIR_VMMS[vmm]
                )
                assert vm.digest == measured, (name, vmm)
