"""SNP_GUEST_REQUEST: what the firmware answers to a guest's sealed messages (AMD 56860, 8.26 and chapter 7).

Who has a VMPCK speaks for its VMPL. A message that does not open, or whose number is not the next one, changes nothing:
the number goes up with each message that is answered, so no answer is ever sealed twice with one nonce.
"""

import struct

from casemate.chip.crypto import derive, open_gcm, seal_gcm
from casemate.chip.errors import ForgedError
from casemate.chip.secret import Secret
from casemate.chip.snp.cpuid_policy import check_cpuid
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.guest_context import Command, GuestContext
from casemate.chip.snp.platform import ReportedGuest, SnpPlatform
from casemate.wire.encodings.fields import MAX_U64
from casemate.wire.errors import WireError
from casemate.wire.snp.cpuid_messages import CpuidRequest, CpuidResponse
from casemate.wire.snp.guest_message import (
    HEADER_SIZE,
    KEY_SIZE,
    TAG_SIZE,
    GuestField,
    KeyRequest,
    KeyRequest2,
    KeyResponse,
    MessageHeader,
    MessageStatus,
    MessageType,
    ReportRequest,
    ReportResponse,
    RootKeySelect,
    payload_of,
)
from casemate.wire.snp.report import NO_MIGRATION_AGENT, WITH_MITIGATIONS
from casemate.wire.snp.tcb import TcbVersion

MESSAGE_VERSION = 1
KEY_REQUEST_2 = 2
"""Version of MSG_KEY_REQ that ABI 1.58 adds: with LAUNCH_MIT_VECTOR."""
LAST_NUMBER = MAX_U64
"""Largest sequence number of a message."""

_LOWEST_VMPL = 3
_LABEL = b"casemate snp derived key v1"
_ANSWERS = {
    MessageType.CPUID_REQ: MessageType.CPUID_RSP,
    MessageType.KEY_REQ: MessageType.KEY_RSP,
    MessageType.REPORT_REQ: MessageType.REPORT_RSP,
}
_STATUSES = {
    FirmwareStatus.INVALID_PARAM: MessageStatus.INVALID_PARAM,
    FirmwareStatus.INVALID_KEY: MessageStatus.INVALID_KEY,
}


def answer(context: GuestContext, platform: SnpPlatform, request: bytes) -> bytes:
    """The sealed response to a sealed request.

    What is wrong with the header is the hypervisor's to know, what is wrong with the payload is the guest's alone.

    Raises:
        FirmwareError: UNSUPPORTED, INVALID_GUEST_STATE, INVALID_PARAM, BAD_MEASUREMENT, AEAD_OFLOW.
    """
    if not context.mode.has_rmp:
        raise FirmwareError(FirmwareStatus.UNSUPPORTED, f"there are no guest messages in mode {context.mode}")
    context.check(Command.GUEST_REQUEST)
    header, payload = _opened(context, request, takes_key_2=platform.state.report_version >= WITH_MITIGATIONS)
    context.message_counts[header.msg_vmpck] = header.msg_seqno + 1
    match header.msg_type:
        case MessageType.REPORT_REQ:
            response = _report(context, platform, header.msg_vmpck, payload).encode()
        case MessageType.KEY_REQ:
            kind = KeyRequest2 if header.msg_version == KEY_REQUEST_2 else KeyRequest
            response = _key(context, platform, header.msg_vmpck, kind, payload).encode()
        case _:
            response = _cpuid(context, payload).encode()
    return _sealed(context, header, response)


def _opened(context: GuestContext, request: bytes, *, takes_key_2: bool) -> tuple[MessageHeader, bytes]:
    try:
        header = MessageHeader.parse(request[:HEADER_SIZE])
        sealed = payload_of(request, header)
    except WireError as error:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, str(error)) from None
    count = context.message_counts[header.msg_vmpck]
    if count > LAST_NUMBER - 2:
        raise FirmwareError(FirmwareStatus.AEAD_OFLOW, f"VMPCK{header.msg_vmpck} has sealed all messages that it may")
    if header.msg_seqno != count + 1:
        raise FirmwareError(
            FirmwareStatus.INVALID_PARAM,
            f"message {header.msg_seqno} under VMPCK{header.msg_vmpck}, the next one is {count + 1}",
        )
    is_key_2 = (header.msg_type, header.msg_version) == (MessageType.KEY_REQ, KEY_REQUEST_2)
    if header.msg_type not in _ANSWERS or not (header.msg_version == MESSAGE_VERSION or (is_key_2 and takes_key_2)):
        raise FirmwareError(
            FirmwareStatus.UNSUPPORTED, f"no answer to {header.msg_type.name} version {header.msg_version} here"
        )
    try:
        key = context.vmpcks[header.msg_vmpck]
        return header, open_gcm(key, header.nonce, sealed + header.authtag, header.authenticated)
    except ForgedError:
        raise FirmwareError(
            FirmwareStatus.BAD_MEASUREMENT, f"the message is not sealed with VMPCK{header.msg_vmpck}, or was changed"
        ) from None


def _sealed(context: GuestContext, request: MessageHeader, response: bytes) -> bytes:
    header = MessageHeader(
        msg_seqno=request.msg_seqno + 1,
        msg_type=_ANSWERS[request.msg_type],
        msg_version=request.msg_version,  # guests compare it with their request's
        msg_size=len(response),
        msg_vmpck=request.msg_vmpck,
    )
    sealed = seal_gcm(context.vmpcks[request.msg_vmpck], header.nonce, response, header.authenticated)
    return sealed[-TAG_SIZE:] + header.encode()[TAG_SIZE:] + sealed[:-TAG_SIZE]


def _report(context: GuestContext, platform: SnpPlatform, vmpl: int, payload: bytes) -> ReportResponse:
    try:
        request = ReportRequest.parse(payload)
        _check_vmpl(request.vmpl, vmpl)
        key = platform.choose(request.key_sel)
        report = platform.report(_reported(context, request), key)
    except (FirmwareError, WireError) as error:
        return ReportResponse(_status(error))
    return ReportResponse(MessageStatus.SUCCESS, report.encode())


def _reported(context: GuestContext, request: ReportRequest) -> ReportedGuest:
    who = context.identity
    return ReportedGuest(
        guest_svn=who.guest_svn,
        policy=context.policy,
        family_id=who.family_id,
        image_id=who.image_id,
        vmpl=request.vmpl,
        report_data=request.report_data,
        measurement=context.digest,
        host_data=who.host_data,
        id_key_digest=who.id_key_digest,
        author_key_digest=who.author_key_digest,
        author_key=who.author_key,
        report_id=context.report_id,
        report_id_ma=NO_MIGRATION_AGENT,
        launch_tcb=context.launch_tcb,
        launch_mitigations=context.launch_mitigations,
    )


def _key(
    context: GuestContext, platform: SnpPlatform, vmpl: int, kind: type[KeyRequest], payload: bytes
) -> KeyResponse:
    try:
        request = kind.parse(payload)
        _check_vmpl(request.vmpl, vmpl)
        key = _derived(context, platform, request)
    except (FirmwareError, WireError) as error:
        return KeyResponse(_status(error))
    return KeyResponse(MessageStatus.SUCCESS, key.reveal())


def _derived(context: GuestContext, platform: SnpPlatform, request: KeyRequest) -> Secret:
    """A key that the root gives for this VMPL and the selected fields; it says itself which were selected."""
    tcb = TcbVersion.parse(platform.product, request.tcb_version)
    if not platform.state.committed.tcb.reaches(tcb):
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"TCB {request.tcb_version.hex()} is above the committed one")
    who = context.identity
    if request.guest_svn > who.guest_svn:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"SVN {request.guest_svn}, the guest's is {who.guest_svn}")
    if request.mitigations & ~context.launch_mitigations:
        raise FirmwareError(
            FirmwareStatus.INVALID_PARAM,
            f"mitigations {request.mitigations:#x}, the guest was launched with {context.launch_mitigations:#x}",
        )
    fields = {
        GuestField.GUEST_POLICY: context.policy.to_bytes(8, "little"),
        GuestField.IMAGE_ID: who.image_id,
        GuestField.FAMILY_ID: who.family_id,
        GuestField.MEASUREMENT: context.digest,
        GuestField.GUEST_SVN: request.guest_svn.to_bytes(4, "little"),
        GuestField.TCB_VERSION: request.tcb_version,
    }
    selected = request.guest_field_select
    if selected & GuestField.LAUNCH_MIT_VECTOR:  # else the key is that of version 1
        fields[GuestField.LAUNCH_MIT_VECTOR] = request.mitigations.to_bytes(8, "little")
    info = struct.pack("<IQI", request.root_key_select, selected, request.vmpl)
    label = (
        _LABEL + info + b"".join(value if selected & field else bytes(len(value)) for field, value in fields.items())
    )
    if request.root_key_select is RootKeySelect.VMRK:
        return Secret(derive(context.vmrk.reveal(), label, KEY_SIZE))
    any_tcb = TcbVersion.parse(platform.product, bytes(8))  # one key at every level, so updates do not change it
    return platform.secret_at(tcb if selected & GuestField.TCB_VERSION else any_tcb, label, KEY_SIZE)


def _cpuid(context: GuestContext, payload: bytes) -> CpuidResponse:
    try:
        functions = CpuidRequest.parse(payload).functions
    except WireError as error:
        return CpuidResponse(_status(error))
    try:
        check_cpuid(functions, context.mode)
    except FirmwareError as error:
        return CpuidResponse(_status(error), functions)
    return CpuidResponse(MessageStatus.SUCCESS, functions)


def _check_vmpl(asked: int, speaks: int) -> None:
    """Nobody asks for more than their own privileges."""
    if not speaks <= asked <= _LOWEST_VMPL:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"VMPL {speaks} asks as VMPL {asked}")


def _status(error: FirmwareError | WireError) -> MessageStatus:
    if isinstance(error, FirmwareError):
        return _STATUSES[error.status]
    return MessageStatus.INVALID_PARAM
