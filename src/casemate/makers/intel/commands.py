"""The maker's commands: what the package's docstring lists, each from parsed arguments to one JSON answer."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from casemate.makers.amd import store as amd_store
from casemate.makers.certificates import parse_serial, serial_of
from casemate.makers.errors import MakerError
from casemate.makers.intel import levels, store
from casemate.makers.intel.keys import KeyRole
from casemate.makers.intel.ledger import Ca, Ledger, Revoked, parse_ca
from casemate.makers.intel.maker import (
    PCK_CA_ROLES,
    IntelMaker,
    PckRequest,
    issue_pck,
    new_maker,
    publish_collateral,
    renewed,
    revoke,
    root_digest,
)
from casemate.makers.requests import MAX_REQUEST, advisory_of
from casemate.makers.store import exists, locked, maker_directory
from casemate.wire.encodings.fields import MAX_U16
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.sgx.simulated_platform import FMSPC, PCE_ID


def init(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Makes a maker where there is none."""
    seed: str | None = arguments.seed
    if not exists(state):
        store.create(state, new_maker(seed, now))
    maker = store.load(state)
    if seed is not None and maker.ledger.seed != seed:
        raise MakerError(
            f"the maker in {maker_directory(state)} was not made from --seed {seed!r}: leave the seed out to "
            "use this maker, or name another state directory"
        )
    return encode_json(
        {
            "root_certificate": encode_chain(maker.certificates[KeyRole.ROOT]).decode(),
            "root_sha256": root_digest(maker).hex(),
            "seeded": maker.ledger.seed is not None,
        }
    )


def certify(state: Path, _arguments: Namespace, now: datetime, given: BinaryIO) -> bytes:
    """Certifies a chip's key."""
    request = _parse_request(given.read(MAX_REQUEST + 1))
    with locked(state):
        maker, chain, serial = issue_pck(_load_renewed(state, now), request, now)
        store.save_ledger(state, maker.ledger)
    return encode_json({"chain": chain.decode(), "serial": f"{serial:x}"})


def collateral(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """What a verifier needs beside a quote."""
    with locked(state):
        maker = _load_renewed(state, now)
    issued = maker.ledger.issued
    newest = issued[-1].ca if issued else Ca.PLATFORM
    return publish_collateral(maker, newest if arguments.ca is None else _pck_ca(arguments.ca), now).encode()


def renew(state: Path, _arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Renews the maker's own certificates that are not valid now, the roots' too."""
    with locked(state):
        old = store.load(state)
        roots = ["SGX"] if _load_renewed(state, now, root=True).certificates != old.certificates else []
        roots += amd_store.renew_roots(state, now)
    return encode_json({"renewed": roots, "seeded": old.ledger.seed is not None})


def _load_renewed(state: Path, now: datetime, *, root: bool = False) -> IntelMaker:
    """The maker, its own certificates renewed where they are not valid now. Under its lock."""
    maker = store.load(state)
    fresh = renewed(maker, now, root=root)
    if fresh is not maker:
        store.save_certificates(state, fresh)
    return fresh


def newest_tcb(state: Path, _arguments: Namespace, _now: datetime, _given: BinaryIO) -> bytes:
    """What a microcode update brings a chip to."""
    return encode_json(_newest(store.load(state).ledger))


def recover_tcb(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Publishes a new level of the platform."""

    def step(ledger: Ledger) -> Ledger:
        return replace(ledger, tcb_levels=levels.recover_platform(ledger.tcb_levels, advisory_of(arguments), now))

    ledger = _recover(state, step)
    return encode_json({**_newest(ledger), "tcb_evaluation_data_number": ledger.tcb_evaluation_data_number})


def recover_qe(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Publishes a new level of the quoting enclave."""

    def step(ledger: Ledger) -> Ledger:
        return replace(ledger, qe_levels=levels.recover_quoting_enclave(ledger.qe_levels, advisory_of(arguments), now))

    ledger = _recover(state, step)
    return encode_json(
        {
            "isv_svn": ledger.qe_levels[0].isv_svn,
            "tcb_evaluation_data_number": ledger.tcb_evaluation_data_number,
        }
    )


def revoke_certificates(state: Path, arguments: Namespace, now: datetime, _given: BinaryIO) -> bytes:
    """Puts certificates on their issuer's revocation list."""
    with locked(state):
        maker = store.load(state)
        chosen = (
            _ca_to_revoke(maker, arguments, now) if arguments.ca is not None else _pcks_to_revoke(maker, arguments, now)
        )
        store.save_ledger(state, revoke(maker, chosen).ledger)
    return encode_json({"revoked": [f"{entry.serial:x}" for entry in chosen]})


def _parse_request(data: bytes) -> PckRequest:
    body = parse_object("request", data, limit=MAX_REQUEST)
    body.only("public_key", "ppid", "cpu_svn", "pce_svn", "pce_id", "fmspc", "seeded", "pck_ca")
    return PckRequest(
        public_key=body.hexadecimal("public_key", 65),
        ppid=body.hexadecimal("ppid", 16),
        cpu_svn=body.hexadecimal("cpu_svn", 16),
        pce_svn=body.uint("pce_svn", MAX_U16),
        pce_id=body.uint("pce_id", MAX_U16).to_bytes(len(PCE_ID), "big"),
        fmspc=body.hexadecimal("fmspc", len(FMSPC)),
        ca=_pck_ca(body.text("pck_ca")) if body.has("pck_ca") else Ca.PLATFORM,
        seeded=body.flag("seeded") if body.has("seeded") else False,
    )


def _ca_to_revoke(maker: IntelMaker, arguments: Namespace, now: datetime) -> tuple[Revoked, ...]:
    certificate = maker.certificates[PCK_CA_ROLES[_pck_ca(arguments.ca)]]
    return (Revoked(serial_of(certificate), Ca.ROOT, now),)


def _pcks_to_revoke(maker: IntelMaker, arguments: Namespace, now: datetime) -> tuple[Revoked, ...]:
    if arguments.ppid is not None:
        found = [entry for entry in maker.ledger.issued if entry.ppid.hex() == arguments.ppid.lower()]
    else:
        serial = parse_serial("--serial", arguments.serial)
        found = [entry for entry in maker.ledger.issued if entry.serial == serial]
    if not found:
        raise MakerError("nothing to revoke: this maker has issued no such certificate")
    return tuple(Revoked(entry.serial, entry.ca, now) for entry in found)


def _pck_ca(text: str) -> Ca:
    ca = parse_ca(text)
    if ca == Ca.ROOT:
        raise MakerError("the root issues no PCK certificates: want processor or platform")
    return ca


def _newest(ledger: Ledger) -> dict[str, object]:
    return {"cpu_svn": ledger.tcb_levels[0].components.hex(), "pce_svn": ledger.tcb_levels[0].pce_svn}


def _recover(state: Path, step: Callable[[Ledger], Ledger]) -> Ledger:
    with locked(state):
        ledger = step(store.load(state).ledger)
        ledger = replace(ledger, tcb_evaluation_data_number=ledger.tcb_evaluation_data_number + 1)
        store.save_ledger(state, ledger)
    return ledger
