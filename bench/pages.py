"""Measuring an enclave of the largest size, by the tool that builds it and by the chip that launches it."""

import hashlib
import os

from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import Lab
from bench.lone_chip import copied_chip, lone_chip
from casemate.chip.sgx.epc import load
from casemate.images.functions.build import measured_stream
from casemate.wire.messages.chip import Destroy, Load, Loaded, StateIs
from casemate.wire.messages.leaf import MAX_PAGES
from casemate.wire.sgx.sgxs import CODE_PAGE, DATA_PAGE, Ecreate, Segment, Sgxs, measure_sgxs

TARGET = Target(Kind.RATIO, 2, "≤ 2x")
BY_THE_CHIP = Target(Kind.VALUE, 300, "≤ 300 ms")
MIB = MAX_PAGES >> 20
BASELINE = f"SHA-256 of {MIB} MiB"


def pages(lab: Lab) -> list[Row]:
    """Half of the pages are data, half are code; their bytes are random."""
    half = MAX_PAGES // 2
    contents = os.urandom(MAX_PAGES)
    sgxs = Sgxs(Ecreate(1, MAX_PAGES), (Segment(0, half, DATA_PAGE), Segment(half, half, CODE_PAGE)), contents)
    stream = sgxs.encode()
    wanted = measure_sgxs(stream)
    assert load(stream).mr_enclave == wanted

    with lone_chip(copied_chip(lab.machine.state, lab.folder / "chip-that-loads")) as chip:
        numbers: list[int] = []

        def clear() -> None:
            while numbers:
                chip.ask(Destroy(numbers.pop()), StateIs)

        def by_the_chip() -> None:
            loaded = chip.ask(Load(stream), Loaded)
            assert loaded.mr_enclave == wanted
            numbers.append(loaded.enclave)

        hash_s, build_s, load_s, chip_s = interleave(
            lab.rounds.pages,
            timed(lambda: hashlib.sha256(contents).digest()),
            timed(lambda: measured_stream(sgxs)),
            timed(lambda: load(stream)),
            timed(by_the_chip, prepare=clear),
        )
    base = Stats.of_seconds(hash_s)
    return [
        Row("measure", f"build side, {MIB} MiB of pages", "ms", Stats.of_seconds(build_s), BASELINE, base, TARGET),
        Row("measure", "chip side: parse and measure", "ms", Stats.of_seconds(load_s), BASELINE, base, TARGET),
        Row(
            "measure",
            "the chip's Load, over its socket",
            "ms",
            Stats.of_seconds(chip_s),
            BASELINE,
            base,
            BY_THE_CHIP,
            note=f"with the transport of {len(stream) >> 20} MiB of SGXS",
        ),
    ]
