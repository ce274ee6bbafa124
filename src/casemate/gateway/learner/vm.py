"""`/vm`: the launch of a confidential VM step by step, as JSON in the clear, which the operator can read."""

import base64
import binascii
import hashlib
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.openapi import json_body, operation
from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.learner.shared_vms import SharedVms
from casemate.gateway.learner.vm_documents import (
    AttestLearnersVmRequest,
    AttestVmAnswer,
    Encoding,
    EncryptedPage,
    EncryptVmAnswer,
    EncryptVmRequest,
    FirmwareDocument,
    LaunchVmAnswer,
    LaunchVmRequest,
    PolicyDocument,
    SnpReportFields,
    VcpuDocument,
)
from casemate.gateway.v1.vm.asking import attested
from casemate.gateway.v1.vm.shares import VmShares
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.host import (
    EncryptVm,
    LaunchVm,
    View,
    VmIs,
    VmMemory,
    VmRegisters,
    VmState,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY
from casemate.wire.messages.vm.verbs import LAUNCH_REFUSALS
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE
from casemate.wire.snp.report import GuestPolicy, SnpReport
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm
from casemate.wire.snp.vmsa import Vmsa

VCPU_TYPE = "EPYC-Milan"
SHOWN = 64
"""Bytes of a page that are shown."""

_REGISTERS = ("rip", "rflags", "rsp", "rdx", "cr0", "cr3", "cr4", "efer", "xcr0", "vmpl", "sev_features")
_REPORT_DATA_SIZE = 64
_SNP_ACTIVE = 1
_VERIFY = [
    "save the decoded `report` as report.bin, `certificates` as report.pem",
    "casemate vm policy GUEST > snp.toml  # what you demand: its digest where you added no pages, the root you trust",
    "casemate snp root -o ark.pem --revocation-list ark.crl",
    (
        "casemate verify report.bin --certificates report.pem --revocation-list ark.crl --report-data NONCE "
        "--policy snp.toml --explain"
    ),
]
_REFUSALS = (*LAUNCH_REFUSALS, *json_body(), Code.RESULT_REFUSED)


def learner_vm_routes(vms: VmHostApi, shares: VmShares, learners: SharedVms) -> APIRouter:
    routes = APIRouter(route_class=StrictRoute, prefix="/vm", tags=["learner"])

    @routes.post("/launch", **operation("learn_launch_vm", Role.DEPLOY, *_REFUSALS))
    async def launch(asked: LaunchVmRequest, request: Request) -> LaunchVmAnswer:
        """LAUNCH_START: a VM with a key of its own, nothing in it, and registers that are not measured yet.

        Needs a token of role `deploy` or above.
        """
        firmware = await learners.firmware(asked.guest)
        made = await shares.launch(request.scope["state"]["token"], _launch_message(asked, firmware))
        learners.launched(_token(request), made.vm)
        pages = [(await vms.answer(VmRegisters(made.vm, vcpu))).content for vcpu in range(made.vcpus)]
        return LaunchVmAnswer(
            **_about(made),
            guest=asked.guest,
            policy=_policy(made.policy),
            memory_mib=made.memory_mib,
            vcpu_type=VCPU_TYPE,
            firmware=FirmwareDocument(size=len(firmware), sha256=hashlib.sha256(firmware).hexdigest()),
            vcpus=[_vcpu(number, page) for number, page in enumerate(pages)],
        )

    @routes.post("/encrypt", **operation("learn_encrypt_vm", Role.DEPLOY, *_REFUSALS))
    async def encrypt(asked: EncryptVmRequest, request: Request) -> EncryptVmAnswer:
        """LAUNCH_UPDATE: the firmware's pages, if they are not in yet, then yours; shows what DRAM has of them now.

        Needs a token of role `deploy` or above.
        """
        known = await learners.vm(_token(request), asked.vm)
        content, gpa = _content(asked), int(asked.gpa, 16)
        size = -(-len(content) // PAGE_SIZE) * PAGE_SIZE
        if gpa + size > known.memory_mib << 20:
            raise refuse(
                Code.MALFORMED, f"{size} bytes at GPA {gpa:#x}: this VM's RAM ends at {known.memory_mib << 20:#x}"
            )
        made = await vms.answer(EncryptVm(known.vm, gpa, content))
        dram = b""
        if content:  # RAM is at the same address in DRAM
            dram = (await vms.answer(VmMemory(known.vm, View.HYPERVISOR, gpa, min(size, MAX_COPY)))).content
        return EncryptVmAnswer(
            **_about(made),
            firmware_added=known.state is VmState.LAUNCHING and known.digest == bytes(DIGEST_SIZE),
            pages=[
                _page(gpa + at, content[at : at + PAGE_SIZE].ljust(PAGE_SIZE, b"\0"), dram[at:])
                for at in range(0, size, PAGE_SIZE)
            ],
        )

    @routes.post("/attest", **operation("learn_attest_vm", Role.CALL, *_REFUSALS, Trouble.ROLE_REFUSED))
    async def attest(asked: AttestLearnersVmRequest, request: Request) -> AttestVmAnswer:
        """Has the guest ask for its report over your nonce. The first time, registers are measured and the launch ends.

        Needs a token of any role; the first time, of role `deploy` or above.
        """
        known = await learners.vm(_token(request), asked.vm)
        nonce = bytes.fromhex(asked.nonce)
        found = await attested(request, vms, known, nonce.ljust(_REPORT_DATA_SIZE, b"\0"))
        return AttestVmAnswer(
            **_about(await learners.vm(_token(request), known.vm)),
            finished=known.state is VmState.LAUNCHING,
            nonce=nonce.hex(),
            fields=_fields(found.report),
            report=base64.b64encode(found.report).decode(),
            certificates=found.certificates.decode("ascii", "replace"),
            verify=_VERIFY,
        )

    return routes


def _token(request: Request) -> bytes:
    digest: bytes = request.scope["state"]["token"].digest
    return digest


def _launch_message(asked: LaunchVmRequest, firmware: bytes) -> LaunchVm:
    policy = GuestPolicy.SMT | GuestPolicy.RESERVED_ONE | (GuestPolicy.DEBUG if asked.debug else GuestPolicy(0))
    return LaunchVm(
        name=asked.guest,
        mode=asked.mode,
        firmware=firmware,
        memory_mib=asked.memory_mib,
        vcpus=asked.vcpus,
        vcpu_signature=VCPU_TYPES[VCPU_TYPE],
        vmm=Vmm.QEMU,
        guest_features=_SNP_ACTIVE if asked.mode.has_rmp else 0,
        policy=policy,
        host_data=bytes.fromhex(asked.host_data),
        finish=False,
        firmware_later=True,
    )


def _content(asked: EncryptVmRequest) -> bytes:
    if asked.encoding is Encoding.TEXT:
        return asked.data.encode()
    try:
        return base64.b64decode(asked.data, validate=True)
    except (binascii.Error, ValueError):
        raise ProblemError(Trouble.REQUEST_REFUSED, "body.data: no base64, though `encoding` says so") from None


def _about(vm: VmIs) -> dict[str, Any]:
    """The members that every answer about a VM has."""
    return {"vm": vm.vm, "mode": vm.mode, "state": vm.state, "digest": vm.digest.hex()}


def _vcpu(number: int, page: bytes) -> VcpuDocument:
    vmsa = Vmsa.parse(page)
    shown = {"cs_base": hex(vmsa.cs.base)} | {name: hex(getattr(vmsa, name)) for name in _REGISTERS}
    return VcpuDocument(vcpu=number, measured=False, sha384=hashlib.sha384(page).hexdigest(), registers=shown)


def _page(gpa: int, sent: bytes, dram: bytes) -> EncryptedPage:
    digest = hashlib.sha384(sent).hexdigest()
    return EncryptedPage(gpa=hex(gpa), spa=hex(gpa), sha384=digest, sent=sent[:SHOWN].hex(), dram=dram[:SHOWN].hex())


def _policy(value: int) -> PolicyDocument:
    return PolicyDocument(
        value=hex(value),
        smt=bool(value & GuestPolicy.SMT),
        migration=bool(value & GuestPolicy.MIGRATE_MA),
        debug=bool(value & GuestPolicy.DEBUG),
        single_socket=bool(value & GuestPolicy.SINGLE_SOCKET),
        abi=f"{value >> 8 & 0xFF}.{value & 0xFF}",
    )


def _fields(report: bytes) -> SnpReportFields:
    """The report's fields. A malformed report is the fault of the guest, not of the client."""
    try:
        found = SnpReport.parse(report)
        key = found.signing_key.name
    except WireError as error:
        raise refuse(Code.RESULT_REFUSED, f"the guest handed out no report: {error}") from None
    return SnpReportFields(
        version=found.version,
        guest_svn=found.guest_svn,
        policy=_policy(found.policy),
        family_id=found.family_id.hex(),
        image_id=found.image_id.hex(),
        vmpl=found.vmpl,
        signing_key=key,
        current_tcb=found.current_tcb.hex(),
        platform_info=hex(found.platform_info),
        report_data=found.report_data.hex(),
        measurement=found.measurement.hex(),
        host_data=found.host_data.hex(),
        id_key_digest=found.id_key_digest.hex(),
        author_key_digest=found.author_key_digest.hex(),
        report_id=found.report_id.hex(),
        reported_tcb=found.reported_tcb.hex(),
        chip_id=found.chip_id.hex(),
        committed_tcb=found.committed_tcb.hex(),
        launch_tcb=found.launch_tcb.hex(),
    )
