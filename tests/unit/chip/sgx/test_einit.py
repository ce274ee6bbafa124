from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.chip.errors import LaunchError
from casemate.chip.sgx.einit import Rule, check_runtime_lock, einit, parse_sigstruct, secs_of, signed_secs
from casemate.chip.sgx.epc import Loaded, load
from casemate.chip.sgx.secs import Secs
from casemate.images.keys import DeveloperKey
from casemate.images.layout import lay_out
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH, Head
from casemate.wire.protocol.runtime_lock import HEAD, MAX_LOCK, RECORD_SIZE, Runtime, RuntimeLock, RuntimePart
from casemate.wire.sgx.attributes import (
    ALL_ATTRIBUTES,
    AttributeFlag,
    AttributeMask,
    Attributes,
    CetAttributes,
    MiscSelect,
)
from casemate.wire.sgx.sigstruct import Sigstruct

PLATFORM = "linux-x86_64-cp311"
CORE, JAVASCRIPT = b"\xab" * 32, b"\xcd" * 32
RUNTIME = (RuntimePart("core", CORE), RuntimePart("javascript", JAVASCRIPT))
OTHER = b"\x0f" * 32
PLAIN = Attributes(AttributeFlag.MODE64BIT, 3)
DEBUG = Attributes(AttributeFlag.MODE64BIT | AttributeFlag.DEBUG, 3)
Sign = Callable[..., Sigstruct]
Launch = Callable[..., Secs]


@pytest.fixture
def launch(loaded: Loaded) -> Launch:
    def run(sigstruct: Sigstruct, *, secs: Secs | None = None, of: Loaded = loaded, **runtime: Any) -> Secs:
        where = {"platform": PLATFORM, "runtime": RUNTIME} | runtime
        return einit(of, signed_secs(sigstruct, of.ecreate) if secs is None else secs, sigstruct, **where)

    return run


NO_MISC, NO_CET = MiscSelect(0), CetAttributes(0)


def secs_with(attributes: Attributes, misc: MiscSelect = NO_MISC, cet: CetAttributes = NO_CET, ssa: int = 1) -> Secs:
    return secs_of(attributes, misc, cet, ssa_frame_size=ssa)


def refused(rule: Rule) -> Any:
    """The refusal of that very rule."""
    return pytest.raises(LaunchError, match=rule.split(" ", maxsplit=1)[0])


def test_identity_is_what_was_measured_and_signed(
    launch: Launch, sign: Sign, loaded: Loaded, developer: DeveloperKey
) -> None:
    secs = launch(sign())
    assert (secs.mr_enclave, secs.mr_signer) == (loaded.mr_enclave, developer.mr_signer())
    assert (secs.isv_prod_id, secs.isv_svn) == (7, 5)
    assert secs.attributes == Attributes(AttributeFlag.MODE64BIT | AttributeFlag.INIT, 3)


class TestSigstruct:
    @pytest.mark.parametrize(
        ("at", "field"), [(0, "header"), (16, "vendor"), (24, "header2"), (44, "SIGSTRUCT"), (512, "exponent")]
    )
    def test_refuses_fixed_fields_changed(self, sign: Sign, at: int, field: str) -> None:
        data = bytearray(sign().encode())
        data[at] ^= 0x20
        with pytest.raises(LaunchError, match=f"sigstruct-format .SGX_INVALID_SIG_STRUCT.*{field}"):
            parse_sigstruct(bytes(data))

    @pytest.mark.parametrize("field", ["signature", "q1", "q2", "modulus"])
    def test_refuses_changed_numbers(self, launch: Launch, sign: Sign, field: str) -> None:
        good = sign()
        number = getattr(good, field)
        with refused(Rule.SIGNATURE):
            launch(replace(good, **{field: bytes((number[0] ^ 1,)) + number[1:]}))

    @pytest.mark.parametrize(
        "change",
        [{"isv_svn": 6}, {"isv_prod_id": 8}, {"date": 0x20260201}, {"enclave_hash": bytes(32)}, {"sw_defined": 1}],
    )
    def test_refuses_fields_changed_after_signing(self, launch: Launch, sign: Sign, change: dict[str, Any]) -> None:
        with refused(Rule.SIGNATURE):
            launch(replace(sign(), **change))

    @pytest.mark.parametrize("field", ["isv_family_id", "isv_ext_prod_id"])
    def test_refuses_kss_fields_without_kss(self, launch: Launch, sign: Sign, field: str) -> None:
        with refused(Rule.KSS_FIELDS):
            launch(sign(**{field: b"\x01" * 16}))

    def test_takes_kss_fields_with_kss(self, launch: Launch, sign: Sign) -> None:
        kss = Attributes(AttributeFlag.MODE64BIT | AttributeFlag.KSS, 3)
        secs = launch(sign(attributes=kss, isv_family_id=b"\x01" * 16, isv_ext_prod_id=b"\x02" * 16))
        assert (secs.isv_family_id, secs.isv_ext_prod_id) == (b"\x01" * 16, b"\x02" * 16)


def test_refuses_another_measurement(launch: Launch, sign: Sign) -> None:
    with refused(Rule.MEASUREMENT):
        launch(sign(enclave_hash=bytes(32)))


class TestAttributes:
    def test_debug_only_where_signed_as_debug(self, launch: Launch, sign: Sign) -> None:
        with refused(Rule.ATTRIBUTES):
            launch(sign(), secs=secs_with(DEBUG))
        with refused(Rule.ATTRIBUTES):
            launch(sign(attributes=DEBUG), secs=secs_with(PLAIN))
        assert launch(sign(attributes=DEBUG)).attributes.debug

    def test_bit_outside_the_mask_is_the_loaders_choice(self, launch: Launch, sign: Sign) -> None:
        lax = sign(attribute_mask=AttributeMask(ALL_ATTRIBUTES.flags ^ AttributeFlag.DEBUG.value, 3))
        assert launch(lax, secs=secs_with(DEBUG)).attributes.debug
        assert not launch(lax, secs=secs_with(PLAIN)).attributes.debug

    def test_xfrm_counts_under_the_mask(self, launch: Launch, sign: Sign) -> None:
        with refused(Rule.ATTRIBUTES):
            launch(sign(), secs=secs_with(Attributes(AttributeFlag.MODE64BIT, 7)))

    def test_misc_select_and_cet_count_under_their_masks(self, launch: Launch, sign: Sign) -> None:
        exinfo = secs_with(PLAIN, misc=MiscSelect.EXINFO)
        with refused(Rule.MISC_SELECT):
            launch(sign(), secs=exinfo)
        assert launch(sign(misc_mask=0), secs=exinfo).misc_select is MiscSelect.EXINFO
        endbr = replace(secs_with(PLAIN), cet_attributes=CetAttributes.ENDBR_EN)
        with refused(Rule.CET_ATTRIBUTES):
            launch(sign(), secs=endbr)
        assert launch(sign(cet_attributes_mask=0), secs=endbr).cet_attributes is CetAttributes.ENDBR_EN

    @pytest.mark.parametrize("flag", [AttributeFlag.PROVISIONKEY, AttributeFlag.EINITTOKEN_KEY])
    def test_controlled_attributes_are_the_makers_alone(self, launch: Launch, sign: Sign, flag: AttributeFlag) -> None:
        with refused(Rule.CONTROLLED_ATTRIBUTES):
            launch(sign(attributes=Attributes(AttributeFlag.MODE64BIT | flag, 3)))
        with refused(Rule.CONTROLLED_ATTRIBUTES):
            no_mask = sign(attribute_mask=AttributeMask(0, 0))
            launch(no_mask, secs=secs_with(Attributes(AttributeFlag.MODE64BIT | flag, 3)))

    def test_init_is_never_the_loaders(self, launch: Launch, sign: Sign) -> None:
        init = Attributes(AttributeFlag.MODE64BIT | AttributeFlag.INIT, 3)
        with refused(Rule.SECS_ATTRIBUTES):
            secs_with(init)
        with refused(Rule.ATTRIBUTES):
            launch(sign(attributes=init))

    @pytest.mark.parametrize(
        "attributes",
        [
            Attributes(AttributeFlag(0), 3),
            Attributes(AttributeFlag.MODE64BIT, 0),
            Attributes(AttributeFlag.MODE64BIT, 1),
            Attributes(AttributeFlag.MODE64BIT, 3 | 1 << 63),
            Attributes(AttributeFlag.MODE64BIT, 0x2_0003),
            Attributes(AttributeFlag.MODE64BIT, 0x4_0003),
            Attributes(AttributeFlag.MODE64BIT, 0x23),
            Attributes(AttributeFlag.MODE64BIT, 0xE3),
            Attributes(AttributeFlag.MODE64BIT, 0x27),
            Attributes(AttributeFlag.MODE64BIT, 0x1B),
            Attributes(AttributeFlag.MODE64BIT | AttributeFlag.AEXNOTIFY, 3),
            Attributes(AttributeFlag.MODE64BIT | AttributeFlag.CET, 3),
        ],
    )
    def test_ecreate_refuses_what_the_processor_lacks(self, attributes: Attributes) -> None:
        with refused(Rule.SECS_ATTRIBUTES):
            secs_with(attributes, ssa=16)

    @pytest.mark.parametrize("cet", CetAttributes)
    def test_cet_attributes_want_attributes_cet(self, cet: CetAttributes) -> None:
        with refused(Rule.SECS_ATTRIBUTES):
            secs_with(PLAIN, cet=cet)

    def test_exception_information_is_the_one_member_of_misc_select_here(self) -> None:
        assert secs_with(PLAIN, misc=MiscSelect.EXINFO).misc_select is MiscSelect.EXINFO
        for misc in (MiscSelect.CPINFO, MiscSelect.CPINFO | MiscSelect.EXINFO):
            with refused(Rule.SECS_ATTRIBUTES):
                secs_with(PLAIN, misc=misc)

    @pytest.mark.parametrize(("xfrm", "pages"), [(0x3, 1), (0x2E7, 1), (0x6_02E7, 3), (0x6_0003, 3)])
    def test_frame_of_the_state_save_area_must_hold_the_enabled_state(self, xfrm: int, pages: int) -> None:
        attributes = Attributes(AttributeFlag.MODE64BIT, xfrm)
        assert secs_with(attributes, ssa=pages).attributes.xfrm == xfrm
        with refused(Rule.SECS_ATTRIBUTES) as refusal:
            secs_with(attributes, ssa=pages - 1)
        assert f"at least {pages} pages" in str(refusal.value)

    def test_signed_image_is_refused_by_the_frames_that_its_stream_has(self, launch: Launch, sign: Sign) -> None:
        with refused(Rule.SECS_ATTRIBUTES) as refusal:
            launch(sign(attributes=Attributes(AttributeFlag.MODE64BIT, 0x6_02E7)))
        assert "SSAFRAMESIZE 1" in str(refusal.value)


def parts(**digests: bytes) -> Runtime:
    return tuple(RuntimePart(name, digest) for name, digest in sorted(digests.items()))


def image(files: dict[str, bytes], engine: str = "javascript") -> Loaded:
    return load(lay_out(files, (), engine=engine).encode())


def locked(lock: RuntimeLock, engine: str = "javascript") -> Loaded:
    return image({LOCK_PATH: lock.encode(), MANIFEST_PATH: b"[enclave]"}, engine)


class TestRuntimeLock:
    @pytest.mark.parametrize("part", ["core", "javascript"])
    def test_refuses_another_core_or_engine(self, launch: Launch, sign: Sign, part: str) -> None:
        here = {"core": CORE, "javascript": JAVASCRIPT}
        with refused(Rule.RUNTIME_LOCK) as refusal:
            launch(sign(), runtime=parts(**here | {part: OTHER}))
        assert f"{part} {OTHER.hex()}" in str(refusal.value)
        assert here[part].hex() in str(refusal.value)

    def test_an_engine_that_the_image_does_not_use_is_not_compared(self, launch: Launch, sign: Sign) -> None:
        launch(sign(), runtime=parts(core=CORE, javascript=JAVASCRIPT, python=OTHER))

    def test_each_digest_of_the_list_is_accepted(self, launch: Launch, sign: Sign) -> None:
        accepted = [bytes([number]) * 32 for number in range(1, 6)]
        several = [RuntimePart(name, digest) for name in ("core", "javascript") for digest in accepted]
        of = locked(RuntimeLock().with_runtime(PLATFORM, several))
        signed = sign(enclave_hash=of.mr_enclave)
        for core in accepted:
            launch(signed, of=of, runtime=parts(core=core, javascript=accepted[0]))
        with refused(Rule.RUNTIME_LOCK):
            launch(signed, of=of, runtime=parts(core=OTHER, javascript=accepted[0]))

    def test_refuses_platform_that_the_lock_does_not_name(self, launch: Launch, sign: Sign) -> None:
        with refused(Rule.RUNTIME_LOCK) as refusal:
            launch(sign(), platform="linux-aarch64-cp313")
        assert "linux-aarch64-cp313" in str(refusal.value)

    def test_refuses_an_engine_that_the_lock_does_not_name(self, launch: Launch, sign: Sign) -> None:
        of = locked(RuntimeLock().with_runtime(PLATFORM, RUNTIME[:1]))
        with refused(Rule.RUNTIME_LOCK) as refusal:
            launch(sign(enclave_hash=of.mr_enclave), of=of)
        assert f"a digest of javascript for {PLATFORM}" in str(refusal.value)

    def test_refuses_an_engine_that_this_runtime_lacks(self, launch: Launch, sign: Sign) -> None:
        of = locked(RuntimeLock().with_runtime(PLATFORM, parts(core=CORE, python=OTHER)), "python")
        with refused(Rule.RUNTIME_LOCK) as refusal:
            launch(sign(enclave_hash=of.mr_enclave), of=of)
        assert "engine 'python'" in str(refusal.value)

    def test_the_core_alone_is_no_engine(self, launch: Launch, sign: Sign) -> None:
        """An image without an engine's digest would run guests that nobody has named."""
        of = locked(RuntimeLock().with_runtime(PLATFORM, RUNTIME[:1]), "core")
        with refused(Rule.RUNTIME_LOCK):
            launch(sign(enclave_hash=of.mr_enclave), of=of)

    @pytest.mark.parametrize(
        "files",
        [
            {MANIFEST_PATH: b"x"},
            {LOCK_PATH: b"", MANIFEST_PATH: b"x"},
            {LOCK_PATH: b'[runtime]\nlinux-x86_64-cp311 = "' + b"ab" * 32 + b'"\n'},
            {LOCK_PATH: b"\xff\xfe"},
            {LOCK_PATH: HEAD + b"x" * RECORD_SIZE},
            {LOCK_PATH: HEAD * 2},
            {LOCK_PATH: RuntimeLock().with_runtime(PLATFORM, RUNTIME).encode()[:-1]},
            {LOCK_PATH: ("a." * 16_000 + "a=1").encode()},
            {LOCK_PATH: HEAD + bytes(MAX_LOCK)},
        ],
    )
    def test_refuses_missing_and_malformed_lock(self, launch: Launch, sign: Sign, files: dict[str, bytes]) -> None:
        of = image(files)
        with refused(Rule.RUNTIME_LOCK):
            launch(sign(enclave_hash=of.mr_enclave), of=of)

    @pytest.mark.parametrize(("offset", "size"), [(1 << 40, 128), (4096, 1 << 40), (1 << 63, 1), (8191, 4098)])
    def test_refuses_a_lock_outside_the_pages(self, loaded: Loaded, offset: int, size: int) -> None:
        head = replace(Head.parse(loaded.pages), lock_offset=offset, lock_size=size).encode()
        with refused(Rule.RUNTIME_LOCK):
            check_runtime_lock(head + loaded.pages[len(head) :], platform=PLATFORM, runtime=RUNTIME)

    def test_refuses_pages_that_are_no_image(self, launch: Launch, sign: Sign, loaded: Loaded) -> None:
        blank = replace(loaded, pages=bytes(len(loaded.pages)))
        with refused(Rule.RUNTIME_LOCK):
            launch(sign(), of=blank)


@settings(max_examples=50)
@given(data=st.data())
def test_arbitrary_sigstruct_is_a_typed_refusal(data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=1808, max_size=1808))
    with pytest.raises(LaunchError, match="sigstruct-format"):
        parse_sigstruct(raw)


def test_no_changed_bit_of_a_sigstruct_passes(launch: Launch, sign: Sign) -> None:
    good = sign().encode()
    for at in range(0, len(good), 5):
        bad = good[:at] + bytes((good[at] ^ 1 << at % 8,)) + good[at + 1 :]
        with pytest.raises(LaunchError):
            launch(parse_sigstruct(bad))


DEPLOYMENT = b"d" * 32
LETS_KSS = AttributeMask(ALL_ATTRIBUTES.flags & ~AttributeFlag.KSS, ALL_ATTRIBUTES.xfrm)


def test_a_deployment_with_an_owner_has_it_in_config_id_and_the_measurement_stays(
    launch: Launch, sign: Sign, loaded: Loaded
) -> None:
    signed = sign(attribute_mask=LETS_KSS)
    owned = launch(signed, secs=signed_secs(signed, loaded.ecreate, DEPLOYMENT))
    assert owned.config_id == DEPLOYMENT + bytes(32)
    assert AttributeFlag.KSS in owned.attributes.flags
    plain = launch(signed)
    assert plain.config_id == bytes(64)
    assert AttributeFlag.KSS not in plain.attributes.flags
    assert plain.mr_enclave == owned.mr_enclave


def test_an_owner_for_an_image_whose_signature_forbids_kss_is_refused(sign: Sign, loaded: Loaded) -> None:
    with pytest.raises(LaunchError, match="signed anew"):
        signed_secs(sign(), loaded.ecreate, DEPLOYMENT)


def test_no_owner_makes_a_production_signature_a_debug_one(launch: Launch, sign: Sign, loaded: Loaded) -> None:
    signed = sign(attribute_mask=LETS_KSS)
    owned = signed_secs(signed, loaded.ecreate, DEPLOYMENT)
    flags = owned.attributes.flags | AttributeFlag.DEBUG
    with refused(Rule.ATTRIBUTES):
        launch(signed, secs=replace(owned, attributes=Attributes(flags, owned.attributes.xfrm)))
