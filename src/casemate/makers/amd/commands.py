"""The commands for SEV-SNP: each from parsed arguments to one JSON answer."""

from argparse import Namespace
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from casemate.makers.amd import levels, store
from casemate.makers.amd.keys import AmdRole
from casemate.makers.amd.ledger import AmdLedger, firmware_json
from casemate.makers.amd.maker import (
    VcekRequest,
    VlekRequest,
    issue_vcek,
    issue_vlek,
    publish_crl,
    revoke,
    root_digest,
)
from casemate.makers.certificates import parse_serial, serial_of
from casemate.makers.errors import MakerError
from casemate.makers.requests import MAX_REQUEST, advisory_of
from casemate.makers.store import locked
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import WireError
from casemate.wire.snp.simulated_platform import HW_ID_SIZES
from casemate.wire.snp.tcb import Product, TcbVersion

_TCB_SIZE = 8


def amd_root(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """The root (ARK) of one product, made if there is none yet."""
    with locked(state):
        maker = store.load(state, arguments.product, (), now)
    return encode_json(
        {
            "root_certificate": encode_chain(maker.cas[AmdRole.ARK].certificate).decode(),
            "root_sha256": root_digest(maker).hex(),
            "seeded": maker.seed is not None,
        }
    )


def certify_vcek(state: Path, _arguments: Namespace, now: datetime, given: BinaryIO) -> bytes:
    """Certifies a chip's VCEK."""
    body, product = _parse_request(given, "public_key", "hw_id", "tcb", "seeded")
    request = VcekRequest(
        public_key=body.hexadecimal("public_key", 97),
        hw_id=body.hexadecimal("hw_id", HW_ID_SIZES[product]),
        tcb=_tcb(product, body),
        seeded=body.flag("seeded") if body.has("seeded") else False,
    )
    with locked(state):
        maker, chain, serial = issue_vcek(store.load(state, product, (AmdRole.ASK,), now), request, now)
        store.save_ledger(state, maker.ledger)
    return encode_json({"chain": chain.decode(), "serial": f"{serial:x}"})


def give_vlek(state: Path, _arguments: Namespace, now: datetime, given: BinaryIO) -> bytes:
    """Gives a cloud provider's VLEK to one of its chips."""
    body, product = _parse_request(given, "csp_id", "tcb", "wrapping_key")
    request = VlekRequest(body.text("csp_id"), _tcb(product, body), body.hexadecimal("wrapping_key", 32))
    with locked(state):
        maker, chain, wrapped, serial = issue_vlek(store.load(state, product, (AmdRole.ASVK,), now), request, now)
        store.save_ledger(state, maker.ledger)
    return encode_json({"chain": chain.decode(), "wrapped_key": wrapped.hex(), "serial": f"{serial:x}"})


def amd_crl(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """The revocation list of one product's root."""
    with locked(state):
        crl = publish_crl(store.load(state, arguments.product, (), now), now)
    return encode_json({"crl": crl.hex()})


def newest_firmware(state: Path, _arguments: Namespace, _now: datetime, _given: BinaryIO) -> bytes:
    """The newest firmware of every product."""
    with locked(state):
        return encode_json({product: _newest(store.load_ledger(state, product)) for product in Product})


def recover_firmware(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Publishes a new TCB of one product."""
    with locked(state):
        ledger = store.load_ledger(state, arguments.product)
        ledger = replace(ledger, levels=levels.recover(ledger.levels, advisory_of(arguments), now))
        store.save_ledger(state, ledger)
    return encode_json(_newest(ledger))


def revoke_amd(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Puts certificates on the root's revocation list."""
    product: Product = arguments.product
    with locked(state):
        if arguments.issuer is not None:
            role = _issuer_role(arguments.issuer)
            maker = store.load(state, product, (role,), now)
            ledger = maker.ledger
            serials: tuple[int, ...] = (serial_of(maker.cas[role].certificate),)
        else:
            ledger = store.load_ledger(state, product)
            serials = _found(ledger, arguments)
        store.save_ledger(state, revoke(ledger, serials, now))
    return encode_json({"revoked": [f"{serial:x}" for serial in serials]})


def parse_product(text: str) -> Product:
    """A product by its name."""
    try:
        return Product(text)
    except ValueError:
        raise WireError("product", got=ascii(text[:64]), want=" or ".join(Product)) from None


def _parse_request(given: BinaryIO, *members: str) -> tuple[JsonObject, Product]:
    body = parse_object("request", given.read(MAX_REQUEST + 1), limit=MAX_REQUEST)
    body.only("product", *members)
    return body, parse_product(body.text("product"))


def _tcb(product: Product, body: JsonObject) -> TcbVersion:
    return TcbVersion.parse(product, body.hexadecimal("tcb", _TCB_SIZE))


def _newest(ledger: AmdLedger) -> dict[str, object]:
    return firmware_json(ledger.levels[0].firmware)


def _found(ledger: AmdLedger, arguments: Namespace) -> tuple[int, ...]:
    if arguments.serial is not None:
        wanted = parse_serial("--serial", arguments.serial)
        found = tuple(entry.serial for entry in ledger.issued if entry.serial == wanted)
    else:
        owner = arguments.csp_id if arguments.csp_id is not None else arguments.hw_id.lower()
        found = tuple(entry.serial for entry in ledger.issued if entry.owner == owner)
    if not found:
        raise MakerError("nothing to revoke: this maker has issued no such certificate")
    return found


def _issuer_role(text: str) -> AmdRole:
    if text not in (AmdRole.ASK, AmdRole.ASVK):
        raise MakerError(f"issuer is {text!a}, want ask or asvk: a root's own list cannot name it")
    return AmdRole(text)
