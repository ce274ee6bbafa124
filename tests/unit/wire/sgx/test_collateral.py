"""TCB info, QE identity and the collateral around them."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import AttributeMask
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.qe_identity import QeIdentity, QeTcbLevel, write_qe_identity
from casemate.wire.sgx.tcb_info import TcbInfo, TcbLevel, TcbStatus, write_tcb_info

DAY = datetime(2026, 1, 1, tzinfo=UTC)
TCB_INFO = write_tcb_info(
    issue_date=DAY,
    next_update=DAY,
    fmspc=bytes(6),
    pce_id=bytes(2),
    tcb_evaluation_data_number=17,
    tcb_levels=(
        TcbLevel(bytes((255, *bytes(15))), 13, DAY, TcbStatus.UP_TO_DATE, ()),
        TcbLevel(bytes(16), 0, DAY, TcbStatus.REVOKED, ("A", "B")),
    ),
)
QE_IDENTITY = write_qe_identity(
    issue_date=DAY,
    next_update=DAY,
    tcb_evaluation_data_number=17,
    misc_select=1,
    misc_select_mask=0xFFFFFFFE,
    attributes=bytes(16),
    attributes_mask=AttributeMask(1, 2),
    mr_signer=bytes(32),
    isv_prod_id=1,
    tcb_levels=(QeTcbLevel(8, DAY, TcbStatus.UP_TO_DATE, ()), QeTcbLevel(6, DAY, TcbStatus.OUT_OF_DATE, ("A",))),
)
COLLATERAL = Collateral(
    b"chain", b"crl", b"\x01", b"chain", TCB_INFO, bytes(64), b"chain", QE_IDENTITY, bytes(64), None
)


@pytest.mark.parametrize(
    "name",
    [
        "sgx/sgx_v3_processor_ca",
        "sgx/sgx_v3_stale_crl",
        "tdx/tdx_v4_00806f_2025_06",
        "tdx/tdx_v4_b0c06f_2025_06",
        "tdx/tdx_v5_90c06f_2026_02",
    ],
)
def test_reads_real_collateral(vectors: Path, name: str) -> None:
    text = (vectors / f"{name}.collateral.json").read_bytes()
    collateral = Collateral.parse(text)
    assert Collateral.parse(collateral.encode()) == collateral
    assert collateral.tcb_info.decode() == json.loads(text)["tcb_info"]
    assert TcbInfo.parse(collateral.tcb_info).encode() == collateral.tcb_info
    assert QeIdentity.parse(collateral.qe_identity).encode() == collateral.qe_identity


@pytest.mark.parametrize("name", ["sgx_v3_processor_ca", "sgx_v3_stale_crl"])
def test_writes_what_intel_writes_byte_for_byte(vectors: Path, name: str) -> None:
    collateral = Collateral.parse((vectors / "sgx" / f"{name}.collateral.json").read_bytes())
    for parsed, write, given_elsewhere in (
        (TcbInfo.parse(collateral.tcb_info), write_tcb_info, {"signed", "id", "version", "tcb_type"}),
        (QeIdentity.parse(collateral.qe_identity), write_qe_identity, {"signed", "id", "version"}),
    ):
        members: dict[str, Any] = {
            field.name: getattr(parsed, field.name)
            for field in dataclasses.fields(parsed)
            if field.name not in given_elsewhere
        }
        assert write(**members) == parsed.encode()


def test_reads_the_members_of_tcb_info() -> None:
    info = TcbInfo.parse(TCB_INFO)
    assert (info.id, info.version, info.tcb_type, info.tcb_evaluation_data_number) == ("SGX", 3, 0, 17)
    assert info.tcb_levels[0].components[0] == 255
    assert info.tcb_levels[1].advisory_ids == ("A", "B")


def test_levels_come_highest_first_whatever_their_order_in_the_document() -> None:
    body = json.loads(TCB_INFO)
    body["tcbLevels"].reverse()
    assert TcbInfo.parse(json.dumps(body).encode()).tcb_levels == TcbInfo.parse(TCB_INFO).tcb_levels


def test_reads_masks_in_the_byte_order_of_reports() -> None:
    identity = QeIdentity.parse(QE_IDENTITY)
    assert json.loads(QE_IDENTITY)["miscselect"] == "01000000"
    assert (identity.misc_select, identity.misc_select_mask) == (1, 0xFFFFFFFE)
    assert identity.attributes_mask == AttributeMask(1, 2)


@pytest.mark.parametrize("spelling", ["00906EA10000", "00906ea10000", "00906Ea10000"])
def test_takes_fmspc_in_either_case(spelling: str) -> None:
    body = json.loads(TCB_INFO) | {"fmspc": spelling}
    assert TcbInfo.parse(json.dumps(body).encode()).fmspc.hex() == "00906ea10000"


def test_passes_over_members_that_other_writers_add_to_collateral() -> None:
    added = json.loads(COLLATERAL.encode()) | {"tcb_info_v2": {"unknown": [1]}, "version": 3}
    assert Collateral.parse(json.dumps(added).encode()) == COLLATERAL


def test_passes_over_members_of_later_revisions() -> None:
    body = json.loads(TCB_INFO) | {"tdxModule": {"mrsigner": ""}, "new": 1}
    assert TcbInfo.parse(json.dumps(body).encode()).id == "SGX"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", 1),
        ("version", "3"),
        ("version", True),
        ("version", 1 << 16),
        ("issueDate", "yesterday"),
        ("nextUpdate", None),
        ("fmspc", "00"),
        ("pceId", "zz00"),
        ("tcbType", -1),
        ("tcbEvaluationDataNumber", 1 << 32),
        ("tcbEvaluationDataNumber", 17.0),
        ("tcbLevels", []),
        ("tcbLevels", {}),
        ("tcbLevels", [1]),
    ],
)
def test_refuses_tcb_info_with_a_wrong_member(member: str, value: object) -> None:
    body = json.loads(TCB_INFO) | {member: value}
    with pytest.raises(WireError, match=member):
        TcbInfo.parse(json.dumps(body).encode())
    del body[member]
    with pytest.raises(WireError, match=member):
        TcbInfo.parse(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("miscselect", "0000"),
        ("miscselectMask", 0),
        ("attributes", "00"),
        ("attributesMask", "FB"),
        ("mrsigner", "00" * 31),
        ("isvprodid", 1 << 16),
        ("tcbLevels", []),
    ],
)
def test_refuses_a_qe_identity_with_a_wrong_member(member: str, value: object) -> None:
    body = json.loads(QE_IDENTITY) | {member: value}
    with pytest.raises(WireError, match=member):
        QeIdentity.parse(json.dumps(body).encode())


def test_refuses_a_level_that_stands_there_twice() -> None:
    for data, parse in ((TCB_INFO, TcbInfo.parse), (QE_IDENTITY, QeIdentity.parse)):
        body = json.loads(data)
        body["tcbLevels"].append(body["tcbLevels"][0])
        with pytest.raises(WireError, match="each once"):
            parse(json.dumps(body).encode())


def test_refuses_unknown_statuses_and_fifteen_components() -> None:
    body = json.loads(TCB_INFO)
    body["tcbLevels"][0]["tcbStatus"] = "Perfect"
    with pytest.raises(WireError, match="Perfect"):
        TcbInfo.parse(json.dumps(body).encode())
    body = json.loads(TCB_INFO)
    body["tcbLevels"][0]["tcb"]["sgxtcbcomponents"].pop()
    with pytest.raises(WireError, match="15 components"):
        TcbInfo.parse(json.dumps(body).encode())


def test_collateral_round_trips() -> None:
    assert Collateral.parse(COLLATERAL.encode()) == COLLATERAL
    with_chain = dataclasses.replace(COLLATERAL, pck_certificate_chain=b"pem")
    assert Collateral.parse(with_chain.encode()) == with_chain


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("root_ca_crl", "zz"),
        ("pck_crl", 1),
        ("tcb_info_signature", "00"),
        ("qe_identity_signature", "00" * 65),
        ("tcb_info", {}),
    ],
)
def test_refuses_collateral_with_a_wrong_member(member: str, value: object) -> None:
    body = json.loads(COLLATERAL.encode()) | {member: value}
    with pytest.raises(WireError, match=member):
        Collateral.parse(json.dumps(body).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(["tcb", "qe", "collateral"]), st.data())
def test_any_member_of_any_value_gives_a_value_or_a_wire_error(which: str, data: st.DataObject) -> None:
    document, parse = {
        "tcb": (TCB_INFO, TcbInfo.parse),
        "qe": (QE_IDENTITY, QeIdentity.parse),
        "collateral": (COLLATERAL.encode(), Collateral.parse),
    }[which]
    body = json.loads(document)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(json_values)
    try:
        parse(json.dumps(body).encode())
    except WireError:
        return


@given(st.binary(max_size=100))
def test_random_bytes_give_a_wire_error(data: bytes) -> None:
    for parse in (TcbInfo.parse, QeIdentity.parse, Collateral.parse):
        with pytest.raises(WireError):
            parse(data)
