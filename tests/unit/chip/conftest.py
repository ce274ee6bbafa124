"""Chips, enclaves and signatures to test with; all from seeds, so that nothing here is random."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.epc import Loaded, load
from casemate.chip.sgx.secs import Secs
from casemate.images.keys import DeveloperKey
from casemate.images.layout import lay_out
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES, AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.sigstruct import KEY_SIZE, Sigstruct, compute_q1_q2
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS

PLATFORM = "linux-x86_64-cp311"
RUNTIME = (RuntimePart("core", b"\xab" * 32), RuntimePart("javascript", b"\xcd" * 32))


@pytest.fixture
def fuses() -> Fuses:
    return seeded_fuses("a chip")


@pytest.fixture
def keys(fuses: Fuses) -> KeyDerivation:
    return KeyDerivation(fuses, FIRST_COMPONENTS)


@pytest.fixture
def secs() -> Secs:
    """A production enclave after EINIT, every field of its identity set."""
    flags = AttributeFlag.INIT | AttributeFlag.MODE64BIT | AttributeFlag.KSS
    return Secs(
        attributes=Attributes(flags, 0x7),
        misc_select=MiscSelect.EXINFO,
        cet_attributes=CetAttributes.SH_STK_EN,
        mr_enclave=bytes([0xE1]) * 32,
        mr_signer=bytes([0x51]) * 32,
        isv_prod_id=7,
        isv_svn=5,
        isv_ext_prod_id=bytes([0xE9]) * 16,
        isv_family_id=bytes([0xFA]) * 16,
        config_id=bytes([0xC1]) * 64,
        config_svn=3,
    )


@pytest.fixture
def seal_request() -> KeyRequest:
    return KeyRequest(
        key_name=KeyName.SEAL_KEY,
        key_policy=KeyPolicy.MRSIGNER,
        isv_svn=5,
        cet_attributes_mask=0,
        cpu_svn=FIRST_COMPONENTS,
        attribute_mask=ALL_ATTRIBUTES,
        key_id=bytes(32),
        misc_mask=0,
        config_svn=0,
    )


@pytest.fixture(scope="session")
def developer() -> DeveloperKey:
    return DeveloperKey.generate()


@pytest.fixture
def stream() -> bytes:
    """An SGXS stream whose runtime lock names RUNTIME for PLATFORM."""
    lock = RuntimeLock().with_runtime(PLATFORM, RUNTIME).encode()
    return lay_out({LOCK_PATH: lock, MANIFEST_PATH: b"[enclave]\n"}, (), engine="javascript").encode()


@pytest.fixture
def loaded(stream: bytes) -> Loaded:
    return load(stream)


@pytest.fixture
def sign(developer: DeveloperKey, loaded: Loaded) -> Callable[..., Sigstruct]:
    """A SIGSTRUCT for ``loaded``, fields changed as asked *before* it is signed."""

    def signed(**changes: Any) -> Sigstruct:
        modulus = developer.modulus()
        unsigned = Sigstruct(
            vendor=0,
            date=0x20260131,
            sw_defined=0,
            modulus=modulus.to_bytes(KEY_SIZE, "little"),
            signature=bytes(KEY_SIZE),
            misc_select=MiscSelect(0),
            misc_mask=0xFFFF_FFFF,
            cet_attributes=CetAttributes(0),
            cet_attributes_mask=0xFF,
            isv_family_id=bytes(16),
            attributes=Attributes(AttributeFlag.MODE64BIT, 3),
            attribute_mask=ALL_ATTRIBUTES,
            enclave_hash=loaded.mr_enclave,
            isv_ext_prod_id=bytes(16),
            isv_prod_id=7,
            isv_svn=5,
            q1=bytes(KEY_SIZE),
            q2=bytes(KEY_SIZE),
        )
        unsigned = replace(unsigned, **changes)
        signature = developer.sign(unsigned.signed_bytes())
        q1, q2 = compute_q1_q2(modulus, signature)
        return replace(unsigned, signature=signature.to_bytes(KEY_SIZE, "little"), q1=q1, q2=q2)

    return signed
