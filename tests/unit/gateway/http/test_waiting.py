"""Connections, from the moment in which they are accepted."""

import asyncio
import contextlib
import errno
import ssl
from pathlib import Path

import httpx
import pytest
from tests.rigs.gateway.front import TOKENS, Front, front, run
from tests.rigs.gateway.serving import AUTHORISED, HEALTH, Serving, certificate, gone

from casemate.gateway.http import connections, waiting
from casemate.gateway.http.settings import Settings
from casemate.gateway.http.waiting import Place, Waiting, network_of
from casemate.link.server_tls import server_context
from casemate.wire.protocol.access_tokens import Role

SOON = 10.0


class Seat(Place):
    """A place that remembers whether it was hung up on."""

    def __init__(self, network: str) -> None:
        super().__init__(network)
        self.is_gone = False
        self.hang_up = self._go

    def _go(self) -> None:
        self.is_gone = True


def seated(most: int, *networks: str) -> tuple[Waiting, list[Seat]]:
    room = Waiting(most)
    seats = [Seat(network) for network in networks]
    for seat in seats:
        room.arrived(seat)
    return room, seats


def test_the_newcomer_pushes_out_whoever_has_waited_longest_of_those_who_have_most() -> None:
    _, seats = seated(4, "a", "b", "b", "b", "c", "d")
    assert [seat.is_gone for seat in seats] == [False, True, True, False, False, False]


def test_who_does_not_read_is_the_first_to_go() -> None:
    room, seats = seated(3, "a", "a", "a")
    room.busy(seats[2])
    room.idle(seats[2], first=True)
    room.arrived(Seat("a"))
    assert [seat.is_gone for seat in seats] == [False, False, True]


def test_who_is_busy_is_not_hung_up_on_and_the_newcomer_is_if_all_are() -> None:
    room, seats = seated(2, "a", "a")
    for seat in seats:
        room.busy(seat)
    late = Seat("b")
    room.arrived(late)
    assert [seat.is_gone for seat in (*seats, late)] == [False, False, True]
    room.left(late)
    room.left(seats[0])
    after = Seat("b")
    room.arrived(after)
    assert not after.is_gone


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("a unix socket", "a unix socket"),
    ],
)
def test_a_peer_is_an_address_or_the_network_of_one_customer(host: str, network: str) -> None:
    assert network_of(host) == network


def test_handshakes_that_never_come_are_counted_and_make_room(gateway: Front, tmp_path: Path) -> None:
    """They held descriptors that nobody counted, as many as there were."""
    cert, key = certificate(tmp_path)

    async def work() -> None:
        async with Serving(gateway, connections=8, tls=server_context(cert, key)) as serving:
            silent = [await serving.connect() for _ in range(40)]
            async with asyncio.timeout(SOON):
                for reader, _ in silent[:30]:  # hung up on to make room, long before the handshake's own time is over
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
            trust = ssl.create_default_context(cafile=str(cert))
            async with httpx.AsyncClient(verify=trust, timeout=SOON) as client:
                assert (await client.get(f"https://localhost:{serving.port}/health")).status_code == 200
            assert serving.server._waiting._all <= 8
            for _, writer in silent:
                await gone(writer)

    run(work())


def test_a_handshake_has_its_time(gateway: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "HANDSHAKE_TIMEOUT", 0.2)
    cert, key = certificate(tmp_path)

    async def work() -> None:
        async with Serving(gateway, tls=server_context(cert, key)) as serving, asyncio.timeout(SOON):
            for sent in (b"", b"\x16\x03\x01", b"GET /health HTTP/1.1\r\n\r\n"):
                reader, writer = await serving.connect()
                writer.write(sent)
                with contextlib.suppress(ConnectionError):
                    while await reader.read(100):
                        pass
                await gone(writer)
            while serving.server._waiting._all:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    run(work())


def test_without_descriptors_it_waits_and_makes_room(
    gateway: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(SOON):
            kept = await serving.connect()
            kept[1].write(HEALTH)
            assert (await kept[0].readline()).startswith(b"HTTP/1.1 200")
            acceptor = serving.server.servers[0]
            real, failures = serving.listener, 2

            class Exhausted:
                """Has no descriptor for its next two connections."""

                fileno = real.fileno

                def accept(self) -> object:
                    nonlocal failures
                    if failures:
                        failures -= 1
                        raise OSError(errno.EMFILE, "Too many open files")
                    return real.accept()

            monkeypatch.setattr(acceptor, "_listener", Exhausted())
            assert await serving.is_well()
            assert failures == 0
            assert await kept[0].read(-1) != b"x"  # who waited longest was hung up on
            await gone(kept[1])
        assert caplog.text.count("no connection can be accepted: Too many open files") == 1

    run(work())


def test_who_asks_for_much_without_a_token_and_does_not_read_hinders_nobody(gateway: Front) -> None:
    """A few hundred of them held all places of requests without a token."""

    async def work() -> None:
        async with Serving(gateway, connections=400) as serving, asyncio.timeout(3 * SOON):
            silent = [await serving.connect() for _ in range(120)]
            for _, writer in silent:
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
            headers = {"Authorization": f"Bearer {TOKENS[Role.CALL]}"}
            async with httpx.AsyncClient(timeout=SOON) as client:
                url = f"http://127.0.0.1:{serving.port}"
                assert (await client.get(f"{url}/v1/machine", headers=headers)).status_code == 200
                assert [(await client.get(f"{url}/health")).status_code for _ in range(9)] == [200] * 9
            for _, writer in silent:
                writer.transport.abort()

    run(work())


def test_health_is_answered_while_somebody_reads_nothing_of_the_documents(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(long_at_once=0))

    async def work() -> None:
        async with gateway.client(None) as client:
            assert (await client.get("/openapi.json")).status_code == 429
            assert (await client.get("/health")).status_code == 200

    run(work())


def test_a_client_that_has_not_read_for_a_while_makes_room(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED", 0.1)
    sent = b"x" * (1 << 24)
    gateway.host.collateral = lambda: sent  # type: ignore[method-assign]

    async def work() -> None:
        async with Serving(gateway, connections=4) as serving, asyncio.timeout(SOON):
            silent = [await serving.connect() for _ in range(4)]
            for reader, writer in silent:
                writer.write(b"GET /v1/collateral HTTP/1.1\r\n" + AUTHORISED + b"\r\n")
                await reader.readuntil(b"\r\n\r\n")
            while sum(map(len, serving.server._waiting._idle.values())) < 4:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
            assert await serving.is_well()
            assert len(serving.server.server_state.connections) < 5
            for _, writer in silent:
                writer.transport.abort()

    run(work())


def test_a_client_that_reads_slowly_is_not_hung_up_on(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time was from the first byte that waited to the last, however many were taken meanwhile."""
    monkeypatch.setattr(connections, "STALLED", 0.15)
    monkeypatch.setattr(connections, "WRITE_TIMEOUT", 0.45)
    size = 1 << 25
    gateway.host.collateral = lambda: b"x" * size  # type: ignore[method-assign]

    async def work() -> None:
        async with Serving(gateway) as serving:
            reader, writer = await serving.connect()
            writer.write(b"GET /v1/collateral HTTP/1.1\r\n" + AUTHORISED + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            came = 0
            while came < size:
                came += len(await reader.readexactly(min(1 << 21, size - came)))
                await asyncio.sleep(0.06)
            await gone(writer)

    run(work())
