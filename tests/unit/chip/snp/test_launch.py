import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.guest_context import Command, GuestContext, GuestState
from casemate.chip.snp.launch import (
    Memory,
    check_policy,
    check_update,
    checked_cpuid_page,
    extended,
    identified,
    secrets_page,
)
from casemate.wire.messages.snp_firmware import LaunchFinish, LaunchUpdate
from casemate.wire.snp.cpuid_page import CpuidPage
from casemate.wire.snp.id_block import EcdsaPublicKey, EcdsaSignature, IdAuth, IdBlock, IdSignature
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import LaunchPage, PageType, extend
from casemate.wire.snp.paravirtual import FAMILY_ID
from casemate.wire.snp.secrets_page import SecretsPage
from casemate.wire.snp.tcb import Product

MEMORY = Memory(pages=0x110, top=1 << 32)
ID_KEY = ec.derive_private_key(0x1D, ec.SECP384R1())
AUTHOR_KEY = ec.derive_private_key(0xA7, ec.SECP384R1())
LD = bytes(range(48))


def update(**changes: Any) -> LaunchUpdate:
    return replace(LaunchUpdate(1, PageType.NORMAL, 0, 0, 1), **changes)


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> IdSignature:
    numbers = key.public_key().public_numbers()
    signature = decode_dss_signature(key.sign(message, ec.ECDSA(SHA384())))
    return IdSignature(EcdsaSignature.of(*signature), EcdsaPublicKey.of(numbers.x, numbers.y))


def finish(
    block: IdBlock, *, author_key: bool = False, id_key: ec.EllipticCurvePrivateKey = ID_KEY, **changes: Any
) -> LaunchFinish:
    by_id = sign(id_key, block.encode())
    auth = IdAuth.of(by_id, sign(AUTHOR_KEY, by_id.key.encode()) if author_key else None)
    made = LaunchFinish(1, b"H" * 32, block.encode(), auth.encode(), author_key)
    return replace(made, **changes)


def block(**changes: Any) -> IdBlock:
    return replace(IdBlock(ld=LD, policy=0x30000, guest_svn=7, family_id=b"F" * 16, image_id=b"I" * 16), **changes)


@pytest.fixture
def measured(guest: GuestContext) -> GuestContext:
    guest.digest = LD
    return guest


@given(st.lists(st.tuples(st.sampled_from(PageType), st.integers(0, 1000), st.binary(max_size=5)), max_size=12))
def test_the_digest_is_what_a_tool_that_knows_the_pages_computes(pages: list[tuple[PageType, int, bytes]]) -> None:
    digest = want = bytes(48)
    for page_type, number, content in pages:
        page = content.ljust(4096, b"\x00")
        measured = page_type in (PageType.NORMAL, PageType.VMSA)
        made = update(page_type=page_type, gpa=number * 4096)
        digest = extended(digest, made, hashlib.sha384(page).digest() if measured else b"")
        want = extend(want, LaunchPage(page_type, number * 4096, page))
    assert digest == want


def test_many_pages_are_measured_as_one_by_one() -> None:
    digests = [hashlib.sha384(bytes([number]) * 4096).digest() for number in range(3)]
    together = extended(LD, update(gpa=0x5000, count=3), b"".join(digests))
    one_by_one = LD
    for number, digest in enumerate(digests):
        one_by_one = extended(one_by_one, update(gpa=0x5000 + 4096 * number), digest)
    assert together == one_by_one


def test_permissions_of_a_vmpl_are_measured() -> None:
    digest = bytes(48)
    made = {extended(LD, update(**{f"vmpl{vmpl}_perms": 3}), digest) for vmpl in (1, 2, 3)}
    assert len({*made, extended(LD, update(), digest)}) == 4


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"count": 0}, FirmwareStatus.INVALID_PARAM),
        ({"count": 4097}, FirmwareStatus.INVALID_PARAM),
        ({"count": 2, "page_type": PageType.SECRETS}, FirmwareStatus.INVALID_PARAM),
        ({"count": 2, "page_type": PageType.CPUID}, FirmwareStatus.INVALID_PARAM),
        ({"vmpl1_perms": 0x10}, FirmwareStatus.INVALID_PARAM),
        ({"vmpl3_perms": 0xFF}, FirmwareStatus.INVALID_PARAM),
        ({"spa": 1}, FirmwareStatus.INVALID_ADDRESS),
        ({"gpa": 0x800}, FirmwareStatus.INVALID_ADDRESS),
        ({"spa": 0x110 * 4096}, FirmwareStatus.INVALID_ADDRESS),
        ({"spa": 0x10F * 4096, "count": 2}, FirmwareStatus.INVALID_ADDRESS),
        ({"spa": 0xFFFF_FFFF_FFFF_F000}, FirmwareStatus.INVALID_ADDRESS),
        ({"gpa": 1 << 32}, FirmwareStatus.INVALID_ADDRESS),
        ({"gpa": (1 << 32) - 4096, "count": 2}, FirmwareStatus.INVALID_ADDRESS),
    ],
)
def test_refuses_pages_that_cannot_be(changes: dict[str, Any], status: FirmwareStatus) -> None:
    with pytest.raises(FirmwareError) as refusal:
        check_update(update(**changes), MEMORY)
    assert refusal.value.status is status


def test_takes_pages_up_to_the_last_one() -> None:
    check_update(update(spa=0x10F * 4096, gpa=(1 << 32) - 4096), MEMORY)
    check_update(update(page_type=PageType.VMSA, gpa=0xFFFF_FFFF_FFFF_FFFF), MEMORY)


def test_a_secrets_page_holds_the_keys_of_this_guest(guest: GuestContext) -> None:
    page = SecretsPage.parse(secrets_page(guest, 0xA00F11))
    keys = [page.vmpck0, page.vmpck1, page.vmpck2, page.vmpck3]
    assert keys == [key.reveal() for key in guest.vmpcks]
    assert len(set(keys)) == 4
    assert page.fms == 0xA00F11


def test_a_cpuid_page_that_is_none_is_refused() -> None:
    assert checked_cpuid_page(bytes(4096), VmMode.SEV_SNP) == CpuidPage(()).encode()
    with pytest.raises(FirmwareError, match="INVALID_PARAM: CPUID Page"):
        checked_cpuid_page(b"\xff" * 4096, VmMode.SEV_SNP)


def test_no_id_block_is_an_identity_of_zeros(measured: GuestContext) -> None:
    who = identified(measured, LaunchFinish(1, b"H" * 32))
    assert (who.host_data, who.guest_svn, who.family_id, who.image_id) == (b"H" * 32, 0, bytes(16), bytes(16))
    assert (who.id_key_digest, who.author_key_digest, who.author_key) == (bytes(48), bytes(48), False)


@pytest.mark.parametrize("author", [False, True])
def test_an_id_block_gives_its_identity(measured: GuestContext, author: bool) -> None:
    who = identified(measured, finish(block(), author_key=author))
    assert (who.host_data, who.guest_svn, who.family_id, who.image_id) == (b"H" * 32, 7, b"F" * 16, b"I" * 16)
    assert who.id_key_digest == sign(ID_KEY, b"").key.digest
    assert who.author_key is author
    assert who.author_key_digest == (sign(AUTHOR_KEY, b"").key.digest if author else bytes(48))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ld": bytes(48)}, FirmwareStatus.BAD_MEASUREMENT),
        ({"policy": 0xB0000}, FirmwareStatus.POLICY_FAILURE),
        ({"version": 2}, FirmwareStatus.INVALID_PARAM),
        ({"family_id": FAMILY_ID}, FirmwareStatus.INVALID_PARAM),
    ],
)
def test_refuses_a_signed_block_that_is_not_of_this_guest(
    measured: GuestContext, changes: dict[str, Any], status: FirmwareStatus
) -> None:
    with pytest.raises(FirmwareError) as refusal:
        identified(measured, finish(block(**changes)))
    assert refusal.value.status is status


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (0x040, FirmwareStatus.BAD_SIGNATURE),  # of the block
        (0x088 + 71, FirmwareStatus.BAD_SIGNATURE),
        (0x244, FirmwareStatus.BAD_SIGNATURE),  # the id key: off the curve
        (0x680, FirmwareStatus.BAD_SIGNATURE),  # of the id key
        (0x884, FirmwareStatus.BAD_SIGNATURE),  # the author key
        (0x000, FirmwareStatus.INVALID_PARAM),
        (0x004, FirmwareStatus.INVALID_PARAM),
        (0x240, FirmwareStatus.INVALID_PARAM),
        (0x880, FirmwareStatus.INVALID_PARAM),
        (0xFFF, FirmwareStatus.INVALID_PARAM),
    ],
)
def test_refuses_what_was_changed_after_it_was_signed(measured: GuestContext, at: int, status: FirmwareStatus) -> None:
    honest = finish(block(), author_key=True)
    assert honest.id_auth is not None
    auth = bytearray(honest.id_auth)
    auth[at] ^= 2
    with pytest.raises(FirmwareError) as refusal:
        identified(measured, replace(honest, id_auth=bytes(auth)))
    assert refusal.value.status is status


def test_refuses_a_block_that_the_id_key_has_not_signed(measured: GuestContext) -> None:
    other = finish(block(guest_svn=8))
    with pytest.raises(FirmwareError, match="BAD_SIGNATURE: the id block is not signed"):
        identified(measured, finish(block(), id_auth=other.id_auth))


def test_refuses_an_id_key_that_the_author_has_not_signed(measured: GuestContext) -> None:
    by_id = sign(ID_KEY, block().encode())
    auth = IdAuth.of(by_id, sign(AUTHOR_KEY, b"another key")).encode()
    with pytest.raises(FirmwareError, match="BAD_SIGNATURE: the id key is not signed"):
        identified(measured, replace(finish(block()), id_auth=auth, author_key=True))


@pytest.mark.parametrize("changes", [{"id_auth": None}, {"id_block": None}, {"id_block": None, "id_auth": None}])
def test_refuses_half_of_an_identity(measured: GuestContext, changes: dict[str, Any]) -> None:
    with pytest.raises(FirmwareError, match="INVALID_PARAM"):
        identified(measured, finish(block(), author_key=True, **changes))


def test_refuses_an_author_that_is_not_there(measured: GuestContext) -> None:
    with pytest.raises(FirmwareError, match=r"INVALID_PARAM: ID_AUTH\.author_key_algo"):
        identified(measured, replace(finish(block()), author_key=True))


def test_a_guest_goes_one_way(guest: GuestContext) -> None:
    for wrong in (Command.LAUNCH_START, Command.GUEST_REQUEST):
        with pytest.raises(FirmwareError, match=f"INVALID_GUEST_STATE: no {wrong} in GSTATE_LAUNCH"):
            guest.step(wrong)
    guest.step(Command.LAUNCH_UPDATE)
    guest.step(Command.LAUNCH_FINISH)
    assert guest.state is GuestState.RUNNING
    for wrong in (Command.LAUNCH_START, Command.LAUNCH_UPDATE, Command.LAUNCH_FINISH):
        with pytest.raises(FirmwareError, match="in GSTATE_RUNNING"):
            guest.step(wrong)
    guest.step(Command.GUEST_REQUEST)


def test_secrets_of_two_guests_differ(guest: GuestContext, random: Callable[[int], bytes]) -> None:
    other = GuestContext.create(VmMode.SEV_SNP, guest.policy, guest.launch_tcb, random)
    assert other.report_id != guest.report_id
    assert {key.reveal() for key in (*other.vmpcks, other.vmrk)}.isdisjoint(
        key.reveal() for key in (*guest.vmpcks, guest.vmrk)
    )


@pytest.mark.parametrize(
    "policy",
    [
        0x30000,
        0x3001F,
        0x30137,
        0xB0000,  # DEBUG
        0x70000,  # MIGRATE_MA
        0x130000,  # SINGLE_SOCKET
        0x230000,  # CXL_ALLOW
        0x430000,  # MEM_AES_256_XTS
        0x2030000,  # PAGE_SWAP_DISABLE
    ],
)
def test_takes_what_the_platform_has(policy: int) -> None:
    check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (0x10000, "INVALID_PARAM: policy 0x10000: bit 17"),
        (0x4030000, "INVALID_PARAM: policy 0x4030000 has bits"),
        (1 << 63 | 0x30000, "INVALID_PARAM"),
        (0x20000, "POLICY_FAILURE: policy 0x20000 forbids SMT"),
        (0x30138, "POLICY_FAILURE: the policy wants firmware of interface 1.56, this is 1.55"),
        (0x30200, "POLICY_FAILURE: the policy wants firmware of interface 2.0"),
        (0x830000, "POLICY_FAILURE: the policy demands RAPL_DIS"),
        (0x1030000, "POLICY_FAILURE: the policy demands CIPHERTEXT_HIDING_DRAM"),
    ],
)
def test_refuses_what_the_platform_has_not(policy: int, words: str) -> None:
    with pytest.raises(FirmwareError, match=re.escape(words)):
        check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)


def test_milan_has_no_aes_256() -> None:
    with pytest.raises(FirmwareError, match="POLICY_FAILURE: the policy demands MEM_AES_256_XTS"):
        check_policy(0x430000, product=Product.MILAN, api_major=1, api_minor=55)


@pytest.mark.parametrize("product", Product)
def test_each_combination_of_bits_is_taken_where_the_platform_has_it(product: Product) -> None:
    """Bits 16 to 26 of POLICY, against AMD 56860, table "Guest Policy", written down by position once more."""
    for bits in range(1 << 11):
        smt, one, _, _, _, _, xts, rapl, hiding, _, reserved = (bool(bits >> at & 1) for at in range(11))
        wanted = one and not reserved and smt and not rapl and not hiding and not (xts and product is Product.MILAN)
        try:
            check_policy(bits << 16, product=product, api_major=1, api_minor=58)
            taken = True
        except FirmwareError:
            taken = False
        assert taken is wanted, f"{bits << 16:#x}"


@given(st.integers(0, 2**64 - 1))
def test_any_policy_is_taken_or_refused(policy: int) -> None:
    try:
        check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)
    except FirmwareError:
        return
    assert policy >> 16 & 0b11 == 0b11
    assert policy & 0xFFFF <= 0x137
