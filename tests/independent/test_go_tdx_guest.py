"""PCK certificates of the simulated maker before go-tdx-guest's parser: it reads in them what we wrote."""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from tests.rigs.independent_verifiers import Ask

from casemate.makers.intel.ledger import Ca
from casemate.testing.forge import Forgery, honest
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckExtension, PckTcb

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def said_of(judges: Ask, forgery: Forgery) -> dict[str, object]:
    return judges({"pck": {"certificate": base64.b64encode(forgery.pck.sign()).decode()}})


def extension_of(forgery: Forgery) -> PckExtension:
    values = [value for value, _ in forgery.pck.extensions if value.oid.dotted_string == SGX_EXTENSION_OID]
    assert isinstance(values[0], x509.UnrecognizedExtension)
    return PckExtension.parse(values[0].value)


def read(pck: PckExtension) -> dict[str, object]:
    """What they must find."""
    return {
        "ppid": pck.ppid.hex(),
        "pce_id": pck.pce_id.hex(),
        "fmspc": pck.fmspc.hex(),
        "pce_svn": pck.tcb.pce_svn,
        "cpu_svn": base64.b64encode(pck.tcb.cpu_svn).decode(),
        "components": base64.b64encode(pck.tcb.components).decode(),
    }


@pytest.mark.parametrize("ca", [Ca.PLATFORM, Ca.PROCESSOR])
@pytest.mark.parametrize("seed", [None, "a public seed"])
def test_they_read_what_we_wrote(judges: Ask, ca: Ca, seed: str | None) -> None:
    forgery = honest(NOW, ca=ca, seed=seed)
    assert said_of(judges, forgery)["pck"] == read(extension_of(forgery))


@pytest.mark.parametrize("svn", [0, 1, 127, 128, 255])
@pytest.mark.parametrize("pce_svn", [0, 127, 128, 0x7FFF, 0x8000, 0xFFFF])
def test_they_read_every_kind_of_number(judges: Ask, svn: int, pce_svn: int) -> None:
    """DER writes 128 and above with a zero before them."""
    forgery = honest(NOW)
    components = bytes((svn + at) % 256 for at in range(16))
    tcb = PckTcb(components=components, pce_svn=pce_svn, cpu_svn=bytes(reversed(components)))
    pck = replace(extension_of(forgery), tcb=tcb, fmspc=bytes(range(250, 256)), pce_id=b"\xff\x00")
    forgery.pck.drop_extension(SGX_EXTENSION_OID)
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION_OID), pck.encode())
    forgery.pck.extensions.append((value, False))
    assert said_of(judges, forgery)["pck"] == read(pck)


def test_they_want_exactly_intels_six_extensions(judges: Ask) -> None:
    forgery = honest(NOW)
    forgery.pck.mark()
    assert said_of(judges, forgery)["refused"] == "PCK certificate extensions length found 7. Expected 6"
