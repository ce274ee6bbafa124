"""Makes a SIGSTRUCT: the developer's signature over the measurement and the enclave's attributes."""

from dataclasses import replace
from datetime import date

from casemate.images.keys import DeveloperKey
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.sgx.attributes import (
    ALL_ATTRIBUTES,
    XFRM_LEGACY,
    AttributeFlag,
    AttributeMask,
    Attributes,
    CetAttributes,
    MiscSelect,
)
from casemate.wire.sgx.sigstruct import KEY_SIZE, VENDOR_OTHERS, Sigstruct, bcd_date, compute_q1_q2
from casemate.wire.sgx.sigstruct_signature import verify_sigstruct

_ALL_ONES_8 = 0xFF
_SIGNED_ATTRIBUTES = AttributeMask(ALL_ATTRIBUTES.flags & ~AttributeFlag.KSS, ALL_ATTRIBUTES.xfrm)


def sign_enclave(mr_enclave: bytes, manifest: Manifest, key: DeveloperKey, *, day: date) -> Sigstruct:
    """The SIGSTRUCT of an enclave; the same arguments give the same bytes.

    Every bit of ATTRIBUTES is in the mask but KSS, so an enclave that is signed as production can never run as debug.
    KSS is the launcher's choice: a deployment that has an owner needs it for its CONFIGID, and evidence shows both.
    """
    flags = AttributeFlag.MODE64BIT | (AttributeFlag.DEBUG if manifest.debug else AttributeFlag(0))
    modulus = key.modulus()
    unsigned = Sigstruct(
        vendor=VENDOR_OTHERS,
        date=bcd_date(day),
        sw_defined=0,
        modulus=modulus.to_bytes(KEY_SIZE, "little"),
        signature=bytes(KEY_SIZE),
        misc_select=MiscSelect(0),
        misc_mask=MAX_U32,
        cet_attributes=CetAttributes(0),
        cet_attributes_mask=_ALL_ONES_8,
        isv_family_id=bytes(16),
        attributes=Attributes(flags, XFRM_LEGACY),
        attribute_mask=_SIGNED_ATTRIBUTES,
        enclave_hash=mr_enclave,
        isv_ext_prod_id=bytes(16),
        isv_prod_id=manifest.product_id,
        isv_svn=manifest.security_version,
        q1=bytes(KEY_SIZE),
        q2=bytes(KEY_SIZE),
    )
    signature = key.sign(unsigned.signed_bytes())
    q1, q2 = compute_q1_q2(modulus, signature)
    signed = replace(unsigned, signature=signature.to_bytes(KEY_SIZE, "little"), q1=q1, q2=q2)
    verify_sigstruct(signed)
    return signed
