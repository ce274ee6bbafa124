"""Quotes: the chip's time for a quote, against that of its signature."""

import hashlib
import os
import time

from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import Lab
from bench.lone_chip import copied_chip, lone_chip
from casemate.chip.crypto import SigningKey
from casemate.chip.fuses import load_fuses
from casemate.chip.secret import Secret
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.quoting import QE_SECS
from casemate.chip.sgx.tcb import load_tcb
from casemate.client import challenge, connect
from casemate.wire.messages.chip import GetQuote, Initialise, Initialised, Load, Loaded, Quoted
from casemate.wire.sgx.quote import SIGNED_SIZE, Quote

TARGET = Target(Kind.OVER, 2, "≤ +2 ms")
BASELINE = "its one signature (ECDSA P-256, RFC 6979)"


def quotes(lab: Lab) -> list[Row]:
    """Quotes by ``chip/sgx/quoting.py`` in this process, by the chip over its socket, and end to end for a client."""
    state = copied_chip(lab.machine.state, lab.folder / "chip-that-quotes")
    folder = state / "chip"
    silicon = SgxPlatform(folder, load_fuses(folder, None), load_tcb(folder))
    report = silicon.ereport(QE_SECS, silicon.quote_target, hashlib.sha512(b"bench").digest())
    key = SigningKey.derived(Secret(os.urandom(32)), b"bench")
    signed = silicon.quoting.quote(report)[:SIGNED_SIZE]
    with (
        lone_chip(state) as chip,
        connect(lab.machine.host_socket) as client,
    ):
        number = client.launch(lab.image)
        enclave = chip.ask(Load(lab.image.sgxs), Loaded).enclave
        chip.ask(Initialise(enclave, lab.image.sigstruct), Initialised)
        asked = GetQuote(enclave, report.encode())
        Quote.parse(chip.ask(asked, Quoted).quote)
        time.sleep(lab.rounds.settle)  # both chips still have work to finish from their start
        sign_s, alone_s, chip_s, client_s = interleave(
            lab.rounds.quotes,
            timed(lambda: key.sign(signed)),
            timed(lambda: silicon.quoting.quote(report)),
            timed(lambda: chip.ask(asked, Quoted)),
            timed(lambda: client.evidence(number, challenge())),
            warm_up=20,
        )
        client.destroy(number)
    sign = Stats.of_seconds(sign_s)
    return [
        Row("quote", "quoting enclave alone, in this process", "ms", Stats.of_seconds(alone_s), BASELINE, sign, TARGET),
        Row(
            "quote", "GetQuote of the chip, as its host sees it", "ms", Stats.of_seconds(chip_s), BASELINE, sign, TARGET
        ),
        Row(
            "quote",
            "client's challenge to evidence",
            "ms",
            Stats.of_seconds(client_s),
            BASELINE,
            sign,
            note="client, host, enclave, EREPORT, quote, and back with collateral",
        ),
    ]
