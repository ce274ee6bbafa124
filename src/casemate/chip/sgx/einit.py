"""ECREATE's and EINIT's checks, in the SDM's order, and one of Casemate's own: the runtime lock.

SIMULATED: launch control is as on Linux with flexible launch control, where the kernel sets IA32_SGXLEPUBKEYHASH to
each enclave's signer: no EINITTOKEN is needed, and anybody may sign. The attributes that give access to provisioning
and launch keys stay with the chip maker's own enclaves.
"""

from dataclasses import replace
from enum import StrEnum

from casemate.chip.errors import LaunchError, Status
from casemate.chip.sgx.epc import Loaded
from casemate.chip.sgx.secs import Secs
from casemate.wire.errors import WireError
from casemate.wire.protocol.deployment import NO_DEPLOYMENT, config_id
from casemate.wire.protocol.image_index import Head
from casemate.wire.protocol.runtime_lock import CORE, MAX_LOCK, Runtime, RuntimeLock, used
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.ecreate_rules import check_secs
from casemate.wire.sgx.sgxs import Ecreate
from casemate.wire.sgx.sigstruct import Sigstruct
from casemate.wire.sgx.sigstruct_signature import SigstructSignatureError, verify_sigstruct
from casemate.wire.sgx.simulated_platform import QE_MR_SIGNER


class Rule(StrEnum):
    """Each check by name, with the processor's word for its refusal."""

    SECS_ATTRIBUTES = f"secs-attributes ({Status.GENERAL_PROTECTION})"
    SIGSTRUCT_FORMAT = f"sigstruct-format ({Status.INVALID_SIG_STRUCT})"
    SIGNATURE = f"sigstruct-signature ({Status.INVALID_SIGNATURE})"
    KSS_FIELDS = f"sigstruct-kss-fields ({Status.INVALID_SIG_STRUCT})"
    MEASUREMENT = f"measurement ({Status.INVALID_MEASUREMENT})"
    CONTROLLED_ATTRIBUTES = f"controlled-attributes ({Status.INVALID_ATTRIBUTE})"
    ATTRIBUTES = f"attributes ({Status.INVALID_ATTRIBUTE})"
    MISC_SELECT = f"misc-select ({Status.INVALID_ATTRIBUTE})"
    CET_ATTRIBUTES = f"cet-attributes ({Status.INVALID_ATTRIBUTE})"
    RUNTIME_LOCK = "runtime-lock"


CONTROLLED_ATTRIBUTES = AttributeFlag.EINITTOKEN_KEY | AttributeFlag.PROVISIONKEY
"""Attributes that only the chip maker's own enclaves may have. On hardware EINIT guards the first; Linux guards the
second by the permissions of /dev/sgx_provision."""

_SHOWN = 3
"""Accepted digests that a refusal lists."""


def secs_of(
    attributes: Attributes, misc_select: MiscSelect, cet_attributes: CetAttributes, *, ssa_frame_size: int
) -> Secs:
    """ECREATE's SECS: the loader's choice of attributes, before anybody has signed anything.

    Args:
        attributes: SECS.ATTRIBUTES.
        misc_select: SECS.MISCSELECT.
        cet_attributes: SECS.CET_ATTRIBUTES.
        ssa_frame_size: SECS.SSAFRAMESIZE, pages.

    Raises:
        LaunchError: the processor does not have these attributes, not together, or not in frames of that size.
    """
    try:
        check_secs(attributes, misc_select, cet_attributes, ssa_frame_size=ssa_frame_size)
    except WireError as error:
        raise LaunchError(Rule.SECS_ATTRIBUTES, got=error.got, want=error.want) from None
    return Secs(
        attributes=attributes,
        misc_select=misc_select,
        cet_attributes=cet_attributes,
        mr_enclave=bytes(32),
        mr_signer=bytes(32),
        isv_prod_id=0,
        isv_svn=0,
        isv_ext_prod_id=bytes(16),
        isv_family_id=bytes(16),
        config_id=bytes(64),
        config_svn=0,
    )


def signed_secs(sigstruct: Sigstruct, ecreate: Ecreate, deployment: bytes = NO_DEPLOYMENT) -> Secs:
    """ECREATE's SECS as loaders choose it: the attributes that the SIGSTRUCT names, frames as the stream has them.

    An enclave whose deployment has an owner gets its identity as CONFIGID, for which it has to have ATTRIBUTES.KSS
    (SDM vol. 3D, ECREATE). Neither enters MRENCLAVE.

    Raises:
        LaunchError: as :func:`secs_of`; or the signer has forbidden KSS, and so that it has an owner.
    """
    attributes = sigstruct.attributes
    flags = attributes.flags & ~AttributeFlag.INIT
    if deployment != NO_DEPLOYMENT:
        flags |= AttributeFlag.KSS
        if AttributeFlag.KSS & sigstruct.attribute_mask.flags and AttributeFlag.KSS not in attributes.flags:
            raise LaunchError(
                Rule.ATTRIBUTES,
                got="an owner for an image whose signature forbids ATTRIBUTES.KSS, as those of earlier versions do",
                want="the image signed anew (its MRENCLAVE stays), or no owner",
            )
    secs = secs_of(
        Attributes(flags, attributes.xfrm),
        sigstruct.misc_select,
        sigstruct.cet_attributes,
        ssa_frame_size=ecreate.ssa_frame_size,
    )
    return replace(secs, config_id=config_id(deployment))


def parse_sigstruct(data: bytes) -> Sigstruct:
    """EINIT's first check, that of the format: header, vendor, exponent, reserved bits and fields."""
    try:
        return Sigstruct.parse(data)
    except WireError as error:
        raise LaunchError(Rule.SIGSTRUCT_FORMAT, got=f"{error.field} {error.got}", want=error.want) from None


def einit(loaded: Loaded, secs: Secs, sigstruct: Sigstruct, *, platform: str, runtime: Runtime) -> Secs:
    """The enclave's identity, if all checks pass.

    Args:
        loaded: its pages and their measurement, by this chip.
        secs: what ECREATE was given.
        sigstruct: the developer's word; hostile.
        platform: this machine's tag in runtime locks.
        runtime: what enclaves and guests really run on here.

    Raises:
        LaunchError: names the first rule that refuses.
    """
    _check_signature(sigstruct)
    _check_kss_fields(secs, sigstruct)
    if sigstruct.enclave_hash != loaded.mr_enclave:
        raise LaunchError(
            Rule.MEASUREMENT,
            got=f"MRENCLAVE {loaded.mr_enclave.hex()}",
            want=f"{sigstruct.enclave_hash.hex()}, as signed",
        )
    mr_signer = sigstruct.mr_signer()
    _check_attributes(secs, sigstruct, mr_signer)
    check_runtime_lock(loaded.pages, platform=platform, runtime=runtime)
    return replace(
        secs,
        attributes=Attributes(secs.attributes.flags | AttributeFlag.INIT, secs.attributes.xfrm),
        mr_enclave=loaded.mr_enclave,
        mr_signer=mr_signer,
        isv_prod_id=sigstruct.isv_prod_id,
        isv_svn=sigstruct.isv_svn,
        isv_ext_prod_id=sigstruct.isv_ext_prod_id,
        isv_family_id=sigstruct.isv_family_id,
    )


def check_runtime_lock(pages: bytes, *, platform: str, runtime: Runtime) -> None:
    """Refuses an image whose measured lock does not accept, for this platform, the runtime that would run it.

    What is compared are the core and the image's own engine; no other engine's guests can come to run its code. The
    index is not read: the enclave reads it when it boots, and refuses an image whose head says something else.
    """
    try:
        head = Head.parse(pages)
        lock = RuntimeLock.parse(head.lock(lambda offset, size: pages[offset : offset + size], limit=MAX_LOCK))
    except WireError as error:
        raise LaunchError(Rule.RUNTIME_LOCK, got=f"{error.field} {error.got}", want=error.want) from None
    engines = [part.component for part in runtime if part.component != CORE]
    if head.engine not in engines:
        raise LaunchError(Rule.RUNTIME_LOCK, got=f"engine {head.engine!r}", want=" or ".join(engines))
    for part in used(runtime, head.engine):
        accepted = lock.digests(part.component, platform)
        if not accepted:
            raise LaunchError(
                Rule.RUNTIME_LOCK,
                got=f"a lock of {', '.join(lock.platforms()) or 'no platform'}",
                want=f"a digest of {part.component} for {platform}",
            )
        if part.digest not in accepted:
            raise LaunchError(
                Rule.RUNTIME_LOCK,
                got=f"{part.component} {part.digest.hex()} on this {platform} machine",
                want=f"{' or '.join(digest.hex() for digest in accepted[:_SHOWN])}, as the image names",
            )


def _check_signature(sigstruct: Sigstruct) -> None:
    try:
        verify_sigstruct(sigstruct)
    except WireError as error:
        raise LaunchError(Rule.SIGNATURE, got=f"{error.field} {error.got}", want=error.want) from None
    except SigstructSignatureError as error:
        raise LaunchError(Rule.SIGNATURE, got=str(error), want="the key's own signature") from None


def _check_kss_fields(secs: Secs, sigstruct: Sigstruct) -> None:
    if AttributeFlag.KSS in secs.attributes.flags:
        return
    for field, got in (("ISVFAMILYID", sigstruct.isv_family_id), ("ISVEXTPRODID", sigstruct.isv_ext_prod_id)):
        if any(got):
            raise LaunchError(Rule.KSS_FIELDS, got=f"{field} {got.hex()} without ATTRIBUTES.KSS", want="zeros, or KSS")


def _check_attributes(secs: Secs, sigstruct: Sigstruct, mr_signer: bytes) -> None:
    controlled = secs.attributes.flags & CONTROLLED_ATTRIBUTES
    if controlled and mr_signer != QE_MR_SIGNER:
        raise LaunchError(
            Rule.CONTROLLED_ATTRIBUTES, got=f"{controlled.name}", want="none, or the chip maker's signature"
        )
    mask = sigstruct.attribute_mask
    got, want = mask.over(secs.attributes), mask.over(sigstruct.attributes)
    if got != want:
        raise LaunchError(Rule.ATTRIBUTES, got=f"{got.hex()} under the mask", want=f"{want.hex()}, as signed")
    for rule, mine, signed, ones in (
        (Rule.MISC_SELECT, secs.misc_select, sigstruct.misc_select, sigstruct.misc_mask),
        (Rule.CET_ATTRIBUTES, secs.cet_attributes, sigstruct.cet_attributes, sigstruct.cet_attributes_mask),
    ):
        if mine & ones != signed & ones:
            raise LaunchError(rule, got=f"{mine & ones:#x} under the mask", want=f"{signed & ones:#x}, as signed")
