import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.errors import LeafError, Status
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.microcode import Microcode
from casemate.chip.sgx.secs import Secs
from casemate.wire.sgx.attributes import AttributeFlag, AttributeMask, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS

PADDING = b"\x00\x01" + b"\xff" * 330 + bytes.fromhex("003031300d060960864801650304020105000420")
ALL_POLICY = KeyPolicy(0x3F)
NO_MASK = AttributeMask(0, 0)


def with_flags(secs: Secs, flags: AttributeFlag) -> Secs:
    return replace(secs, attributes=Attributes(flags, secs.attributes.xfrm))


@pytest.fixture
def key(keys: KeyDerivation, secs: Secs, seal_request: KeyRequest) -> Callable[..., bytes]:
    """A key, with fields of request or SECS changed: ``key(isv_svn=3, secs={"isv_svn": 9})``."""

    def derived(*, secs_changes: dict[str, Any] | None = None, **changes: Any) -> bytes:
        return keys.egetkey(replace(secs, **(secs_changes or {})), replace(seal_request, **changes)).reveal()

    return derived


@pytest.fixture
def refused(keys: KeyDerivation, secs: Secs, seal_request: KeyRequest) -> Callable[..., Status]:
    def status(*, of: Secs = secs, **changes: Any) -> Status:
        with pytest.raises(LeafError) as refusal:
            keys.egetkey(of, replace(seal_request, **changes))
        return refusal.value.status

    return status


def test_seal_key_equals_cmac_over_the_dependencies_written_out(
    fuses: Fuses, keys: KeyDerivation, secs: Secs, seal_request: KeyRequest
) -> None:
    """The block as the SDM lists it, packed here by hand."""
    request = replace(
        seal_request, key_policy=ALL_POLICY, key_id=b"\x1d" * 32, misc_mask=1, config_svn=2, cet_attributes_mask=1,
        attribute_mask=AttributeMask(0x80, 0x5),
    )  # fmt: skip
    block = b"casemate key dependencies v1\x00" + struct.pack(
        "<H16s16sHH16sQQQQ32s32s32s32s16s352sIIH64sHBB",
        4, secs.isv_family_id, secs.isv_ext_prod_id, 0, 5, fuses.owner_epoch,
        (0x80 | 3) & 0x85, 0x5 & 0x7, 0x80, 0x5,
        secs.mr_enclave, secs.mr_signer, request.key_id, fuses.root_seal_key.reveal(), FIRST_COMPONENTS, PADDING,
        1, 0xFFFF_FFFE, 0x3F, secs.config_id, 2, 1, 1,
    )  # fmt: skip
    mac = CMAC(AES(Microcode(fuses.root_provisioning_key, FIRST_COMPONENTS).root_key(FIRST_COMPONENTS)))
    mac.update(block)
    assert keys.egetkey(secs, request).reveal() == mac.finalize()


def test_same_request_gives_the_same_key_and_every_dependency_another(key: Callable[..., bytes]) -> None:
    assert key() == key()
    distinct = [
        key(),
        key(isv_svn=4),
        key(key_id=b"\x01" * 32),
        key(cpu_svn=bytes(16)),
        key(key_policy=KeyPolicy.MRENCLAVE),
        key(key_policy=KeyPolicy.MRENCLAVE | KeyPolicy.MRSIGNER),
        key(key_policy=KeyPolicy(0)),
        key(attribute_mask=NO_MASK),
        key(misc_mask=1),
        key(cet_attributes_mask=1),
        key(secs_changes={"mr_signer": bytes(32)}),
        key(secs_changes={"isv_prod_id": 8}),
        key(secs_changes={"attributes": Attributes(AttributeFlag.INIT | AttributeFlag.KSS, 0x3)}),
    ]
    assert len(set(distinct)) == len(distinct)


def test_another_chip_derives_another_key(keys: KeyDerivation, secs: Secs, seal_request: KeyRequest) -> None:
    other = KeyDerivation(seeded_fuses("another chip"), FIRST_COMPONENTS)
    assert other.egetkey(secs, seal_request).reveal() != keys.egetkey(secs, seal_request).reveal()


class TestPolicy:
    def test_signer_policy_gives_all_enclaves_of_the_signer_one_key(self, key: Callable[..., bytes]) -> None:
        other = {"mr_enclave": bytes(32)}
        assert key(key_policy=KeyPolicy.MRSIGNER) == key(key_policy=KeyPolicy.MRSIGNER, secs_changes=other)

    def test_enclave_policy_tells_enclaves_of_one_signer_apart(self, key: Callable[..., bytes]) -> None:
        other = {"mr_enclave": bytes(32)}
        assert key(key_policy=KeyPolicy.MRENCLAVE) != key(key_policy=KeyPolicy.MRENCLAVE, secs_changes=other)

    def test_enclave_policy_forgets_the_signer(self, key: Callable[..., bytes]) -> None:
        other = {"mr_signer": bytes(32)}
        assert key(key_policy=KeyPolicy.MRENCLAVE) == key(key_policy=KeyPolicy.MRENCLAVE, secs_changes=other)

    @pytest.mark.parametrize(
        ("bit", "change"),
        [
            (KeyPolicy.CONFIGID, {"config_id": bytes(64)}),
            (KeyPolicy.ISVFAMILYID, {"isv_family_id": bytes(16)}),
            (KeyPolicy.ISVEXTPRODID, {"isv_ext_prod_id": bytes(16)}),
        ],
    )
    def test_kss_field_enters_the_key_with_its_bit_alone(
        self, key: Callable[..., bytes], bit: KeyPolicy, change: dict[str, Any]
    ) -> None:
        assert key() == key(secs_changes=change)
        with_bit = KeyPolicy.MRSIGNER | bit
        assert key(key_policy=with_bit) != key(key_policy=with_bit, secs_changes=change)

    def test_product_id_stays_out_with_noisvprodid(self, key: Callable[..., bytes]) -> None:
        policy = KeyPolicy.MRSIGNER | KeyPolicy.NOISVPRODID
        assert key(key_policy=policy) == key(key_policy=policy, secs_changes={"isv_prod_id": 9})

    def test_config_svn_enters_with_configid_alone(self, key: Callable[..., bytes]) -> None:
        assert key(config_svn=1) == key(config_svn=2)
        policy = KeyPolicy.MRSIGNER | KeyPolicy.CONFIGID
        assert key(key_policy=policy, config_svn=1) != key(key_policy=policy, config_svn=2)

    @pytest.mark.parametrize("bit", [KeyPolicy(1 << at) for at in range(2, 6)])
    def test_refuses_kss_bits_without_kss(self, refused: Callable[..., Status], secs: Secs, bit: KeyPolicy) -> None:
        plain = with_flags(secs, AttributeFlag.INIT | AttributeFlag.MODE64BIT)
        assert refused(of=plain, key_policy=bit) is Status.GENERAL_PROTECTION

    def test_refuses_config_svn_without_kss(self, refused: Callable[..., Status], secs: Secs) -> None:
        plain = with_flags(secs, AttributeFlag.INIT | AttributeFlag.MODE64BIT)
        assert refused(of=plain, config_svn=1) is Status.GENERAL_PROTECTION


class TestVersions:
    def test_newer_enclave_opens_what_the_older_sealed(self, key: Callable[..., bytes]) -> None:
        assert key(isv_svn=4, secs_changes={"isv_svn": 4}) == key(isv_svn=4, secs_changes={"isv_svn": 9})

    def test_older_enclave_cannot_ask_for_the_newer_key(self, refused: Callable[..., Status]) -> None:
        assert refused(isv_svn=6) is Status.INVALID_ISVSVN

    def test_refuses_config_svn_above_the_enclaves(self, refused: Callable[..., Status]) -> None:
        assert refused(config_svn=4) is Status.INVALID_ISVSVN

    def test_refuses_cpu_svn_beyond_the_processor(self, refused: Callable[..., Status]) -> None:
        assert refused(cpu_svn=b"\xff" * 16) is Status.INVALID_CPUSVN

    def test_updated_chip_derives_the_keys_of_before(
        self, fuses: Fuses, keys: KeyDerivation, secs: Secs, seal_request: KeyRequest
    ) -> None:
        newer = bytes((9, *FIRST_COMPONENTS[1:]))
        updated = KeyDerivation(fuses, newer)
        assert updated.egetkey(secs, seal_request).reveal() == keys.egetkey(secs, seal_request).reveal()
        now = replace(seal_request, cpu_svn=newer)
        assert updated.egetkey(secs, now).reveal() != keys.egetkey(secs, seal_request).reveal()
        with pytest.raises(LeafError, match="SGX_INVALID_CPUSVN"):
            keys.egetkey(secs, now)


class TestAttributes:
    @given(mask=st.integers(0, 2**64 - 1), xfrm=st.integers(0, 2**64 - 1))
    def test_debug_enclave_never_gets_a_production_key(self, mask: int, xfrm: int) -> None:
        keys = KeyDerivation(seeded_fuses("a chip"), FIRST_COMPONENTS)
        production = Secs(
            attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3), misc_select=MiscSelect(0),
            cet_attributes=CetAttributes(0), mr_enclave=bytes(32), mr_signer=bytes(32), isv_prod_id=0, isv_svn=0,
            isv_ext_prod_id=bytes(16), isv_family_id=bytes(16), config_id=bytes(64), config_svn=0,
        )  # fmt: skip
        debug = with_flags(production, production.attributes.flags | AttributeFlag.DEBUG)
        request = KeyRequest(
            key_name=KeyName.SEAL_KEY, key_policy=KeyPolicy(0), isv_svn=0, cet_attributes_mask=0,
            cpu_svn=bytes(16), attribute_mask=AttributeMask(mask, xfrm), key_id=bytes(32), misc_mask=0, config_svn=0,
        )  # fmt: skip
        assert keys.egetkey(production, request).reveal() != keys.egetkey(debug, request).reveal()

    def test_masked_attribute_does_not_enter(self, key: Callable[..., bytes], secs: Secs) -> None:
        aex = {"attributes": Attributes(secs.attributes.flags | AttributeFlag.AEXNOTIFY, 0x7)}
        assert key(attribute_mask=NO_MASK) == key(attribute_mask=NO_MASK, secs_changes=aex)
        assert key() != key(secs_changes=aex)

    def test_misc_select_enters_where_the_mask_has_ones(self, key: Callable[..., bytes]) -> None:
        other = {"misc_select": MiscSelect(0)}
        assert key(misc_mask=0) == key(misc_mask=0, secs_changes=other)
        assert key(misc_mask=1) != key(misc_mask=1, secs_changes=other)


class TestKinds:
    @pytest.mark.parametrize("name", [KeyName.PROVISION_KEY, KeyName.PROVISION_SEAL_KEY])
    def test_provisioning_keys_want_the_attribute(self, refused: Callable[..., Status], name: KeyName) -> None:
        assert refused(key_name=name, key_policy=KeyPolicy(0)) is Status.INVALID_ATTRIBUTE

    def test_launch_key_wants_the_attribute(self, refused: Callable[..., Status]) -> None:
        assert refused(key_name=KeyName.EINITTOKEN_KEY, key_policy=KeyPolicy(0)) is Status.INVALID_ATTRIBUTE

    @pytest.mark.parametrize(
        ("name", "flag"),
        [
            (KeyName.PROVISION_KEY, AttributeFlag.PROVISIONKEY),
            (KeyName.PROVISION_SEAL_KEY, AttributeFlag.PROVISIONKEY),
            (KeyName.EINITTOKEN_KEY, AttributeFlag.EINITTOKEN_KEY),
        ],
    )
    def test_versions_are_checked_for_every_kind(
        self, refused: Callable[..., Status], secs: Secs, name: KeyName, flag: AttributeFlag
    ) -> None:
        granted = with_flags(secs, secs.attributes.flags | flag)
        assert refused(of=granted, key_name=name, isv_svn=6) is Status.INVALID_ISVSVN
        assert refused(of=granted, key_name=name, cpu_svn=b"\xff" * 16) is Status.INVALID_CPUSVN

    def test_provisioning_key_leaves_out_what_the_maker_does_not_know(
        self, fuses: Fuses, secs: Secs, seal_request: KeyRequest
    ) -> None:
        """Owner epoch and seal fuses: the maker derives the same key, so they cannot enter."""
        other_owner = replace(fuses, owner_epoch=bytes(16))
        other_seal = replace(fuses, root_seal_key=seeded_fuses("x").root_seal_key)
        granted = with_flags(secs, secs.attributes.flags | AttributeFlag.PROVISIONKEY)

        def derived(of: Fuses, name: KeyName) -> bytes:
            request = replace(seal_request, key_name=name)
            return KeyDerivation(of, FIRST_COMPONENTS).egetkey(granted, request).reveal()

        provision, provision_seal, seal = KeyName.PROVISION_KEY, KeyName.PROVISION_SEAL_KEY, KeyName.SEAL_KEY
        assert derived(fuses, provision) == derived(other_owner, provision) == derived(other_seal, provision)
        assert derived(fuses, provision_seal) == derived(other_owner, provision_seal)
        assert derived(fuses, provision_seal) != derived(other_seal, provision_seal)
        assert len({derived(of, seal) for of in (fuses, other_owner, other_seal)}) == 3

    def test_key_id_does_not_enter_provisioning_keys(self, key: Callable[..., bytes], secs: Secs) -> None:
        granted = {"attributes": Attributes(secs.attributes.flags | AttributeFlag.PROVISIONKEY, 0x7)}
        for name in (KeyName.PROVISION_KEY, KeyName.PROVISION_SEAL_KEY):
            one = key(key_name=name, secs_changes=granted)
            assert one == key(key_name=name, key_id=b"\x01" * 32, secs_changes=granted)

    def test_report_key_ignores_policy_and_masks_but_not_identity(self, key: Callable[..., bytes]) -> None:
        one = key(key_name=KeyName.REPORT_KEY)
        same = key(key_name=KeyName.REPORT_KEY, key_policy=KeyPolicy.MRENCLAVE, attribute_mask=NO_MASK, isv_svn=9)
        assert one == same
        for change in ({"mr_enclave": bytes(32)}, {"config_svn": 0}, {"config_id": bytes(64)}, {"misc_select": 0}):
            assert key(key_name=KeyName.REPORT_KEY, secs_changes=change) != one
        assert key(key_name=KeyName.REPORT_KEY, secs_changes={"mr_signer": bytes(32)}) == one

    def test_kinds_never_share_a_key(self, key: Callable[..., bytes], secs: Secs) -> None:
        both = AttributeFlag.PROVISIONKEY | AttributeFlag.EINITTOKEN_KEY
        granted = {"attributes": Attributes(secs.attributes.flags | both, 0x7)}
        assert len({key(key_name=name, secs_changes=granted) for name in KeyName}) == len(KeyName)

    def test_secret_does_not_show_itself(self, keys: KeyDerivation, secs: Secs, seal_request: KeyRequest) -> None:
        secret = keys.egetkey(secs, seal_request)
        assert secret.reveal().hex() not in f"{secret} {secret!r}"
        assert repr(secret.reveal()) not in f"{secret} {secret!r}"
