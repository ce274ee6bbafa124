"""Sealed state: calls with a write that is durable before the caller gets its result."""

import secrets
from pathlib import Path

from bench.bare_sqlite import BareSqlite
from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import KEEPER, Lab, image_of, policy_for
from bench.lone_store import MANY, commits, rates
from casemate.client import connect

SIZE = 4096
RATE_ROUNDS = 5
ABSOLUTE = Target(Kind.VALUE, 10, "≤ 10 ms")
RELATIVE = Target(Kind.RATIO, 2, "≤ 2x")
ADDED = Target(Kind.RATIO, 2.3, "≤ 2.3x")
EIGHTFOLD = Target(Kind.RATIO, 1 / 8, "at least 8x as many")
BASELINE = "the same bytes into SQLite, behind a socket"


def state(lab: Lab) -> list[Row]:
    """A call that writes, the same call without the write, and a bare write."""
    image = image_of(KEEPER, lab.folder / "keeper", lab.machine)
    text = secrets.token_hex(SIZE // 2)
    with connect(lab.machine.host_socket) as client, BareSqlite(lab.folder / "bare.db") as bare:
        number = client.launch(image)
        enclave = client.attest(number, policy_for(image, lab.machine))
        bare_s, put_s, without_s = interleave(
            lab.rounds.calls // 2,
            timed(lambda: bare.put(text.encode())),
            timed(lambda: enclave.call("put", text)),
            timed(lambda: enclave.call("measure", text)),
            warm_up=10,
        )
        client.destroy(number)
    base, put = Stats.of_seconds(bare_s), Stats.of_seconds(put_s)
    added = Stats.of_seconds(max(0.0, one - other) for one, other in zip(put_s, without_s, strict=True))
    commit_s, before_s = commits(_new(lab.folder / "store"), lab.rounds.calls // 2)
    one, many = ([1 / a_second for a_second in rate] for rate in rates(_new(lab.folder / "rates"), RATE_ROUNDS))
    return [
        Row("state", "encrypted call that keeps 4 KiB durably", "ms", put, BASELINE, base, ABSOLUTE),
        Row("state", "the same, held against its baseline", "ms", put, BASELINE, base, RELATIVE),
        Row("state", "the same call without keeping anything", "ms", Stats.of_seconds(without_s)),
        Row("state", "what keeping adds to a call", "ms", added, BASELINE, base, ADDED),
        Row(
            "state",
            "the commit alone, inside the enclave",
            "ms",
            Stats.of_seconds(commit_s),
            BASELINE,
            Stats.of_seconds(before_s),
            RELATIVE,
        ),
        Row(
            "state",
            f"commits of 1 KiB, {MANY} writers at once: time for each",
            "ms",
            Stats.of_seconds(many),
            "one writer",
            Stats.of_seconds(one),
            EIGHTFOLD,
        ),
    ]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
