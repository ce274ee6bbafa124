"""SIMULATED: the kind of SGX platform that the simulated maker builds, as chip and maker both assume it.

Nothing here is secret, and no verifier relies on it: verifiers get these values signed, in the PCK certificate, TCB
info and QE identity.
"""

import hashlib

from casemate.wire.sgx.attributes import XFRM_LEGACY, AttributeFlag, AttributeMask, Attributes, MiscSelect
from casemate.wire.sgx.pck import SgxType

FMSPC = bytes.fromhex("00CA5E3A7E00")
"""Family, model, stepping, platform, custom SKU. No real platform has this one."""

PCE_ID = bytes(2)
"""The PCEID of every platform, real ones too."""

SGX_TYPE = SgxType.SCALABLE

FIRST_COMPONENTS = bytes((7, 7, 2, 2, 255, 1, 3, *bytes(9)))
"""The 16 SVN components that chips are born with.

SIMULATED: CPUSVN is these components, byte for byte; real CPUSVNs are opaque."""

FIRST_PCE_SVN = 13

QE_MR_SIGNER = hashlib.sha256(b"SIMULATED: signer of Casemate's quoting enclave").digest()
"""SIMULATED: no such key exists, because the chip is the quoting enclave. Real: SHA-256 of Intel's signing modulus."""

QE_MR_ENCLAVE = hashlib.sha256(b"SIMULATED: code of Casemate's quoting enclave").digest()
"""SIMULATED: no such pages exist. Verifiers do not compare it."""

QE_ISV_PROD_ID = 1
QE_ISV_SVN = 8
QE_MISC_SELECT = MiscSelect(0)
QE_MISC_SELECT_MASK = 0xFFFF_FFFF

QE_ATTRIBUTES = Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT | AttributeFlag.PROVISIONKEY, XFRM_LEGACY)
"""In the quoting enclave's REPORT."""

QE_ATTRIBUTES_MASK = AttributeMask(flags=0xFFFF_FFFF_FFFF_FFFB, xfrm=0)
"""The mask of attributes in the QE identity, as in Intel's: every flag but MODE64BIT, and no bit of XFRM."""
