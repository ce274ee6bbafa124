"""Calls from one enclave to another: in a session that they have, and the first one, before which both are attested."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.callers import BEFORE_NEWCOMER
from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import ARGUMENTS, ENTRY, Lab, built, policy_for
from bench.processes import settled
from bench.python import JAVASCRIPT, arrangement
from casemate.client import Client, Enclave, connect
from casemate.images.image import Image

SHOP = Path(__file__).parent / "shop"
NOBODY = "0" * 64
"""The measurement that the shop's manifest has, before it gets the function's."""
MORE = 10
"""Inner calls that one arm makes more than the other: the time of one is a tenth of the difference."""

DIRECT = "a client's call to the same function"
IN_SESSION = Target(Kind.RATIO, 1.5, "≤ 1.5x")
FIRST = Target(Kind.VALUE, 15, "≤ 15 ms")


def services(lab: Lab) -> list[Row]:
    """A function is called by a client and by an enclave, both in sessions that they have; and by one that has none."""
    with connect(lab.machine.host_socket) as client:
        function = arrangement(lab, client, JAVASCRIPT)
        shop = _shop(lab, function.image)
        with function.launched() as number:
            direct_s, inner_s = _in_sessions(lab, client, function.attest(number), shop)
            first_s = [_first(lab, client, shop) for _ in range(lab.rounds.newcomers)]
    call = f"an enclave calls another, {len(ARGUMENTS['lines'])} lines of JSON, p50"
    return [
        Row("service", call, "ms", Stats.of_seconds(inner_s), DIRECT, Stats.of_seconds(direct_s), IN_SESSION),
        Row("service", "the first one, before which both are attested", "ms", Stats.of_seconds(first_s), target=FIRST),
    ]


def _shop(lab: Lab, function: Image) -> Image:
    folder = lab.folder / "shop"
    shutil.copytree(SHOP, folder)
    manifest = folder / "casemate.toml"
    text = manifest.read_text()
    assert NOBODY in text
    manifest.write_text(text.replace(NOBODY, function.mr_enclave.hex()))
    return built(folder, lab.machine)


@contextmanager
def _launched(lab: Lab, client: Client, shop: Image) -> Iterator[Enclave]:
    """The shop, which has a guest for this caller, and has called nobody yet."""
    number = client.launch(shop)
    try:
        enclave = client.attest(number, policy_for(shop, lab.machine))
        assert _buy(enclave, 0) == 0
        yield enclave
    finally:
        client.destroy(number)
        settled(lab.machine)


def _buy(enclave: Enclave, times: int) -> object:
    return enclave.call("buy", {"order": ARGUMENTS, "times": times}).value


def _in_sessions(lab: Lab, client: Client, function: Enclave, shop: Image) -> tuple[list[float], list[float]]:
    """Seconds of a client's calls, and of an enclave's."""
    with _launched(lab, client, shop) as enclave:
        price = function.call(ENTRY, ARGUMENTS).value
        assert isinstance(price, dict)
        assert _buy(enclave, 1) == price["cents"]
        direct_s, one_s, many_s = interleave(
            lab.rounds.calls // 3,
            timed(lambda: function.call(ENTRY, ARGUMENTS)),
            timed(lambda: _buy(enclave, 1)),
            timed(lambda: _buy(enclave, 1 + MORE)),
            warm_up=10,
        )
    return direct_s, [(many - one) / MORE for one, many in zip(one_s, many_s, strict=True)]


def _first(lab: Lab, client: Client, shop: Image) -> float:
    """Seconds of the first call of a shop that calls the function."""
    with _launched(lab, client, shop) as enclave:
        time.sleep(BEFORE_NEWCOMER)  # the rate for new callers of the function is no part of it
        settled(lab.machine)
        began = time.perf_counter()
        _buy(enclave, 1)
        return time.perf_counter() - began
