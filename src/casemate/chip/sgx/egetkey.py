"""EGETKEY: which values enter which key, and who may ask for it (SDM vol. 3D, 40.4, EGETKEY: table 40-64, operation).

A key is AES-CMAC over the block of its dependencies, under the root key of the CPUSVN in the request.
SIMULATED: Intel publishes the dependencies but neither the block's layout nor the cipher.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from casemate.chip.crypto import cmac
from casemate.chip.errors import LeafError, Status
from casemate.chip.fuses import Fuses
from casemate.chip.secret import Secret
from casemate.chip.sgx.microcode import Microcode
from casemate.chip.sgx.secs import Secs
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.encodings.message import U8, U16, U32, Bytes16, Bytes32, Bytes64, Fixed, encode_fields
from casemate.wire.sgx.attributes import AttributeFlag, AttributeMask
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.report import TargetInfo

_LABEL = b"casemate key dependencies v1\x00"

REQUIRED_SEALING_MASK = AttributeFlag.INIT | AttributeFlag.DEBUG
"""Attributes that enter each key, whatever the request's mask says: a debug enclave never gets a production key."""

KSS_POLICY = KeyPolicy.NOISVPRODID | KeyPolicy.CONFIGID | KeyPolicy.ISVFAMILYID | KeyPolicy.ISVEXTPRODID
"""KEYPOLICY bits that need ATTRIBUTES.KSS: 0x003C."""

PKCS1_5_PADDING = bytes.fromhex("0001") + b"\xff" * 330 + bytes.fromhex("003031300d060960864801650304020105000420")
"""HARDCODED_PKCS1_5_PADDING, 352 bytes: no RSA signature can ever stand where a key's dependencies do."""

_NO_POLICY = KeyPolicy(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dependencies:
    """TMP_KEYDEPENDENCIES; what a kind of key leaves out stays zero."""

    key_name: U16
    isv_family_id: Bytes16 = bytes(16)
    isv_ext_prod_id: Bytes16 = bytes(16)
    isv_prod_id: U16 = 0
    isv_svn: U16 = 0
    owner_epoch: Bytes16 = bytes(16)
    attributes: Bytes16
    attributes_mask: Bytes16 = bytes(16)
    mr_enclave: Bytes32 = bytes(32)
    mr_signer: Bytes32 = bytes(32)
    key_id: Bytes32 = bytes(32)
    seal_key_fuses: Bytes32 = bytes(32)
    cpu_svn: Bytes16
    padding: Annotated[bytes, Fixed(352)] = PKCS1_5_PADDING
    misc_select: U32
    misc_mask: U32 = 0
    key_policy: U16 = 0
    config_id: Bytes64 = bytes(64)
    config_svn: U16 = 0
    cet_attributes: U8
    cet_attributes_mask: U8 = 0


class KeyDerivation:
    """The processor's key hierarchy at its present CPUSVN."""

    def __init__(self, fuses: Fuses, cpu_svn: bytes) -> None:
        self._microcode = Microcode(fuses.root_provisioning_key, cpu_svn)
        self._seal_key_fuses = fuses.root_seal_key
        self._owner_epoch = fuses.owner_epoch

    @property
    def cpu_svn(self) -> bytes:
        """The loaded microcode's version, 16 components."""
        return self._microcode.cpu_svn

    def egetkey(self, secs: Secs, request: KeyRequest) -> Secret:
        """The key that ``request`` names, for the enclave that ``secs`` describes; 16 bytes.

        Raises:
            LeafError: with the status that the SDM gives.
        """
        _check_kss(secs, request)
        match request.key_name:
            case KeyName.SEAL_KEY:
                return self._derive(self._seal(secs, request))
            case KeyName.REPORT_KEY:
                return self.report_key(secs.target_info(), request.key_id)
            case KeyName.EINITTOKEN_KEY:
                return self._derive(self._einittoken(secs, request))
            case KeyName.PROVISION_KEY:
                return self._derive(self._provision(secs, request))
            case KeyName.PROVISION_SEAL_KEY:
                return self._derive(self._provision_seal(secs, request))

    def report_key(self, target: TargetInfo, key_id: bytes) -> Secret:
        """The key that authenticates REPORTs for ``target``; it gets the same one by EGETKEY, and nobody else does."""
        return self._derive(
            _Dependencies(
                key_name=KeyName.REPORT_KEY,
                owner_epoch=self._owner_epoch,
                attributes=target.attributes.encode(),
                mr_enclave=target.measurement,
                key_id=key_id,
                seal_key_fuses=self._seal_key_fuses.reveal(),
                cpu_svn=self.cpu_svn,
                misc_select=target.misc_select,
                config_id=target.config_id,
                config_svn=target.config_svn,
                cet_attributes=target.cet_attributes,
            )
        )

    def _derive(self, dependencies: _Dependencies) -> Secret:
        root = self._microcode.root_key(dependencies.cpu_svn)
        return Secret(cmac(root, _LABEL + encode_fields(dependencies)))

    def _seal(self, secs: Secs, request: KeyRequest) -> _Dependencies:
        self._check_versions(secs, request)
        policy = request.key_policy
        return replace(
            _shared(secs, request, policy),
            owner_epoch=self._owner_epoch,
            mr_enclave=secs.mr_enclave if KeyPolicy.MRENCLAVE in policy else bytes(32),
            mr_signer=secs.mr_signer if KeyPolicy.MRSIGNER in policy else bytes(32),
            key_id=request.key_id,
            seal_key_fuses=self._seal_key_fuses.reveal(),
        )

    def _einittoken(self, secs: Secs, request: KeyRequest) -> _Dependencies:
        _check_attribute(secs, AttributeFlag.EINITTOKEN_KEY, request)
        self._check_versions(secs, request)
        return replace(
            _shared(secs, request, _NO_POLICY),
            owner_epoch=self._owner_epoch,
            attributes_mask=bytes(16),
            mr_signer=secs.mr_signer,
            key_id=request.key_id,
            seal_key_fuses=self._seal_key_fuses.reveal(),
            misc_mask=0,
            cet_attributes_mask=0,
        )

    def _provision(self, secs: Secs, request: KeyRequest) -> _Dependencies:
        """Without owner epoch, seal fuses and KEYID: the maker, who knows the root, can derive it too."""
        _check_attribute(secs, AttributeFlag.PROVISIONKEY, request)
        self._check_versions(secs, request)
        return replace(_shared(secs, request, _NO_POLICY), mr_signer=secs.mr_signer)

    def _provision_seal(self, secs: Secs, request: KeyRequest) -> _Dependencies:
        """Inputs of the provisioning seal key: the seal fuses, which the maker does not know, and no owner epoch."""
        _check_attribute(secs, AttributeFlag.PROVISIONKEY, request)
        self._check_versions(secs, request)
        return replace(
            _shared(secs, request, request.key_policy),
            mr_signer=secs.mr_signer,
            seal_key_fuses=self._seal_key_fuses.reveal(),
        )

    def _check_versions(self, secs: Secs, request: KeyRequest) -> None:
        self._microcode.check(request.cpu_svn)
        for field, got, most in (
            ("ISVSVN", request.isv_svn, secs.isv_svn),
            ("CONFIGSVN", request.config_svn, secs.config_svn),
        ):
            if got > most:
                raise LeafError(Status.INVALID_ISVSVN, f"KEYREQUEST.{field} is {got}, the enclave has {most}")


def _shared(secs: Secs, request: KeyRequest, policy: KeyPolicy) -> _Dependencies:
    """What the sealing and provisioning kinds have in common: the masked attributes and what ``policy`` lets in."""
    mask = AttributeMask(request.attribute_mask.flags | int(REQUIRED_SEALING_MASK), request.attribute_mask.xfrm)
    return _Dependencies(
        key_name=request.key_name,
        isv_family_id=secs.isv_family_id if KeyPolicy.ISVFAMILYID in policy else bytes(16),
        isv_ext_prod_id=secs.isv_ext_prod_id if KeyPolicy.ISVEXTPRODID in policy else bytes(16),
        isv_prod_id=0 if KeyPolicy.NOISVPRODID in policy else secs.isv_prod_id,
        isv_svn=request.isv_svn,
        attributes=mask.over(secs.attributes),
        attributes_mask=request.attribute_mask.encode(),
        cpu_svn=request.cpu_svn,
        misc_select=secs.misc_select & request.misc_mask,
        misc_mask=~request.misc_mask & MAX_U32,
        key_policy=policy,
        config_id=secs.config_id if KeyPolicy.CONFIGID in policy else bytes(64),
        config_svn=request.config_svn if KeyPolicy.CONFIGID in policy else 0,
        cet_attributes=secs.cet_attributes & request.cet_attributes_mask,
        cet_attributes_mask=request.cet_attributes_mask,
    )


def _check_kss(secs: Secs, request: KeyRequest) -> None:
    if AttributeFlag.KSS not in secs.attributes.flags and (request.key_policy & KSS_POLICY or request.config_svn):
        raise LeafError(
            Status.GENERAL_PROTECTION,
            f"KEYREQUEST.KEYPOLICY is {int(request.key_policy):#06x} with CONFIGSVN {request.config_svn}, an enclave "
            "without ATTRIBUTES.KSS may use bits 0 and 1 alone, and CONFIGSVN 0",
        )


def _check_attribute(secs: Secs, wanted: AttributeFlag, request: KeyRequest) -> None:
    if wanted not in secs.attributes.flags:
        raise LeafError(
            Status.INVALID_ATTRIBUTE, f"{request.key_name.name} is for enclaves with ATTRIBUTES.{wanted.name} alone"
        )
