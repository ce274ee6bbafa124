"""The relay, with an enclave that is played: whose bytes go where, and who goes when there are too many."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self

import pytest

from casemate.host import tls_relay
from casemate.host.entry_queue import CALLER
from casemate.host.tls_ports import TlsPorts
from casemate.host.tls_relay import TlsRelay, certify
from casemate.wire.messages.entry import MAX_OTHERS
from casemate.wire.messages.tls import TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.faults import Code, FaultError, refuse

CERTIFICATE = TlsInstalled(b"certificate", 1 << 40)


class Gate:
    """An enclave that answers each piece with itself, upper case."""

    def __init__(self) -> None:
        self.entered: list[TlsBytes] = []
        self.refuses = False
        self.pieces = 1
        self.answer = b""
        """What is said instead of the piece, where anything is."""
        self.is_slow = False
        """It works on what connections say for as long as this is so; ends are answered at once."""
        self.under_way = 0
        self.callers: set[str] = set()

    async def enter(self, entry: object, _wanted: type[Any]) -> Any:
        assert isinstance(entry, TlsBytes)
        self.entered.append(entry)
        self.callers.add(CALLER.get())
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            while self.is_slow and not entry.has_ended:  # noqa: ASYNC110 - a test's patience is short
                await asyncio.sleep(0.01)
        finally:
            self.under_way -= 1
        if self.refuses:
            raise refuse(Code.BUSY, "no")
        if entry.data == b"long":
            self.pieces = 5
        has_more = self.pieces > 1
        self.pieces = max(1, self.pieces - 1)
        data = self.answer or entry.data.upper() or b"more"
        return TlsReply(data, has_more=has_more, is_over=entry.has_ended or entry.data == b"bye")


async def renew() -> TlsInstalled | None:
    return CERTIFICATE


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    return made


def relayed(body: Callable[[TlsRelay, Gate], Awaitable[None]]) -> None:
    async def run() -> None:
        listener = TlsPorts([bound()]).lend(1)
        assert listener is not None
        gate = Gate()
        relay = TlsRelay(listener, gate, renew)  # type: ignore[arg-type] # plays one
        relay.start(CERTIFICATE)
        try:
            await asyncio.wait_for(body(relay, gate), 10)
        finally:
            relay.close()
            await asyncio.sleep(0.05)
            listener.close()
            while Talker.made:
                Talker.made.pop().sock.close()

    asyncio.run(run())


class Talker:
    """A client of the relay's."""

    made: ClassVar[list["Talker"]] = []

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.made.append(self)

    @classmethod
    async def at(cls, relay: TlsRelay) -> Self:
        sock = socket.socket()
        sock.settimeout(0)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", relay.port))
        return cls(sock)

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hear(self, size: int) -> bytes:
        heard = b""
        while len(heard) < size:
            piece = await asyncio.get_running_loop().sock_recv(self.sock, size - len(heard))
            if not piece:
                break
            heard += piece
        return heard

    async def ask(self, data: bytes) -> bytes:
        await self.say(data)
        return await self.hear(len(data))

    async def is_hung_up_on(self) -> bool:
        try:
            return await asyncio.wait_for(self.hear(1), 5) == b""
        except ConnectionError:
            return True


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_carries_bytes_of_each_connection_both_ways() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        first = await Talker.at(relay)
        second = await Talker.at(relay)
        assert await second.ask(b"b") == b"B"  # numbered when it first speaks
        assert await first.ask(b"a") == b"A"
        assert await second.ask(b"c") == b"C"
        assert [entry.connection for entry in gate.entered] == [1, 2, 1]

    relayed(body)


def test_two_relays_exchange_their_new_clients_and_keep_those_that_they_have() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        listener, heir = TlsPorts([bound()]).lend(2), Gate()
        assert listener is not None
        other = TlsRelay(listener, heir, renew)  # type: ignore[arg-type] # plays one
        other.start(CERTIFICATE)
        port, old = relay.port, await Talker.at(relay)
        assert await old.ask(b"a") == b"A"
        relay.exchange(other)
        assert (other.port, relay.listener) == (port, listener)
        new = await Talker.at(other)
        assert await new.ask(b"b") == b"B"
        assert await old.ask(b"c") == b"C"
        assert [entry.data for entry in gate.entered] == [b"a", b"c"]
        assert [entry.data for entry in heir.entered] == [b"b"]
        relay.close()  # and nobody is accepted at its port any more; the other's goes on
        assert await (await Talker.at(other)).ask(b"d") == b"D"
        other.close()
        await asyncio.sleep(0.05)
        listener.close()

    relayed(body)


def test_asks_on_while_there_is_more_and_hangs_up_when_it_is_over() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        client = await Talker.at(relay)
        await client.say(b"long")
        assert await client.hear(4 + 4 * 4) == b"LONG" + b"more" * 4
        assert [entry.data for entry in gate.entered] == [b"long", b"", b"", b"", b""]
        assert await client.ask(b"bye") == b"BYE"
        assert await client.is_hung_up_on()
        assert not any(entry.has_ended for entry in gate.entered)  # the enclave knows

    relayed(body)


def test_the_enclave_is_told_of_a_client_that_left_and_not_of_one_that_never_spoke() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        silent = await Talker.at(relay)
        silent.sock.close()
        client = await Talker.at(relay)
        await client.ask(b"a")
        client.sock.close()
        await eventually(lambda: len(gate.entered) == 2)
        assert gate.entered[1] == TlsBytes(1, b"", has_ended=True)

    relayed(body)


def test_a_refusing_enclave_costs_that_connection_alone() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        client = await Talker.at(relay)
        gate.refuses = True
        await client.say(b"a")
        assert await client.is_hung_up_on()
        gate.refuses = False
        assert await (await Talker.at(relay)).ask(b"b") == b"B"

    relayed(body)


def test_slow_entries_fill_their_places_alone_and_ends_do_not_wait_behind_them() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        idle = await Talker.at(relay)
        assert await idle.ask(b"a") == b"A"
        gate.is_slow = True
        clients = [await Talker.at(relay) for _ in range(tls_relay.AT_ONCE + 10)]
        for client in clients:
            await client.say(b"b")
        await eventually(lambda: gate.under_way == tls_relay.AT_ONCE)
        idle.sock.close()
        await eventually(lambda: gate.entered[-1] == TlsBytes(1, b"", has_ended=True))
        assert gate.under_way == tls_relay.AT_ONCE
        gate.is_slow = False
        for client in clients:
            assert await client.hear(1) == b"B"
        assert gate.callers == {tls_relay.CALLER_NAME}

    relayed(body)


def test_the_enclave_hears_of_an_end_though_an_entry_of_that_connection_is_under_way() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        gate.is_slow = True
        talker = await Talker.at(relay)
        await talker.say(b"a")
        await eventually(lambda: gate.under_way == 1)
        (client,) = relay._clients
        assert client.task is not None
        client.task.cancel()
        await eventually(lambda: gate.entered == [TlsBytes(1, b"a", False), TlsBytes(1, b"", has_ended=True)])
        assert await talker.is_hung_up_on()

    relayed(body)


def test_what_a_connection_says_while_an_entry_of_it_is_under_way_waits() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        gate.is_slow = True
        talker, other = await Talker.at(relay), await Talker.at(relay)
        await talker.say(b"a")
        await eventually(lambda: gate.under_way == 1)
        await talker.say(b"b")
        await other.say(b"o")
        await eventually(lambda: gate.under_way == 2)
        assert [entry.data for entry in gate.entered] == [b"a", b"o"]
        gate.is_slow = False
        assert await talker.hear(2) == b"AB"
        assert await other.hear(1) == b"O"

    relayed(body)


def test_for_one_more_connection_the_one_that_rests_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_relay, "MAX_CONNECTIONS", 3)

    async def body(relay: TlsRelay, _gate: Gate) -> None:
        clients = []
        for _ in range(3):
            clients.append(await Talker.at(relay))
            await asyncio.sleep(0.01)
        assert await clients[0].ask(b"a") == b"A"  # so the second one rests longest
        newest = await Talker.at(relay)
        assert await newest.ask(b"n") == b"N"
        assert await clients[1].is_hung_up_on()
        assert await clients[0].ask(b"b") == b"B"
        assert await clients[2].ask(b"c") == b"C"

    relayed(body)


def test_who_takes_nothing_of_its_answers_gives_way_as_who_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_relay, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(tls_relay, "STUCK_TIME", 0.3)

    async def body(relay: TlsRelay, gate: Gate) -> None:
        gate.answer = bytes(32 * 1024 * 1024)  # far more than sockets hold
        stuck = [await Talker.at(relay) for _ in range(3)]
        for talker in stuck:
            await talker.say(b"a")
        await eventually(lambda: len(gate.entered) == 3)
        gate.answer = b""
        newcomer = await Talker.at(relay)
        assert await asyncio.wait_for(newcomer.ask(b"n"), 5) == b"N"  # waits for somebody to be stuck: it is not reset
        assert await newcomer.ask(b"o") == b"O"
        await eventually(lambda: sum(entry.has_ended for entry in gate.entered) == 1)  # one went, and no more

    relayed(body)


def test_who_takes_its_answer_slowly_is_not_stuck() -> None:
    async def body(relay: TlsRelay, gate: Gate) -> None:
        size = 32 * 1024 * 1024
        gate.answer = bytes(size)
        slow = await Talker.at(relay)
        await slow.say(b"a")
        await eventually(lambda: len(gate.entered) == 1)
        await asyncio.sleep(0.05)  # the sockets' buffers are full
        (client,) = relay._clients
        for _ in range(4):
            before = client.rests_since
            assert len(await slow.hear(size // 8)) == size // 8
            await eventually(lambda before=before: client.rests_since > before)  # type: ignore[misc] # bound now
            assert not client.is_resting(client.rests_since + tls_relay.STUCK_TIME - 0.1)
            assert client.is_resting(client.rests_since + tls_relay.STUCK_TIME)

    relayed(body)


@pytest.mark.parametrize("name", ["FIRST_BYTES_TIME", "IDLE_TIME"])
def test_who_rests_too_long_is_hung_up_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(tls_relay, name, 0.05)

    async def body(relay: TlsRelay, gate: Gate) -> None:
        client = await Talker.at(relay)
        if name == "IDLE_TIME":
            assert await client.ask(b"a") == b"A"
        assert await client.is_hung_up_on()
        assert (gate.entered[-1:] == [TlsBytes(1, b"", has_ended=True)]) == (name == "IDLE_TIME")

    relayed(body)


def test_a_certificate_is_renewed_in_time_and_after_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_relay, "MIN_RENEWAL", 0.01)

    async def run() -> None:
        tried: list[int] = []

        async def failing_first() -> TlsInstalled | None:
            tried.append(1)
            if len(tried) == 1:
                raise refuse(Code.TIMED_OUT, "the chip is busy")
            return TlsInstalled(b"", 0)

        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0)
        relay = TlsRelay(listener, Gate(), failing_first)  # type: ignore[arg-type] # plays one
        relay.start(TlsInstalled(b"", 0))
        await eventually(lambda: len(tried) >= 3)
        relay.close()
        await asyncio.sleep(0.01)
        listener.close()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_the_places_of_connections_leave_some_to_challenges() -> None:
    assert tls_relay.AT_ONCE + tls_relay.ENDS_AT_ONCE <= MAX_OTHERS * 3 // 4


def test_certify_has_each_report_quoted_in_order() -> None:
    class Certifying:
        async def enter(self, entry: object, _wanted: type[Any]) -> Any:
            if isinstance(entry, TlsPrepare):
                return TlsPrepared((b"r1", b"r2"))
            assert entry == TlsInstall((b"quote of r1", b"quote of r2"))
            return CERTIFICATE

    class Plain:
        async def enter(self, _entry: object, _wanted: type[Any]) -> Any:
            return TlsPrepared(())

    async def quote(report: bytes) -> bytes:
        return b"quote of " + report

    async def run() -> None:
        assert await certify(Certifying(), b"target", quote) is CERTIFICATE  # type: ignore[arg-type] # plays one
        assert await certify(Plain(), b"target", quote) is None  # type: ignore[arg-type] # plays one

    asyncio.run(run())


def test_ports_are_lent_one_each_and_come_back_to_who_had_them() -> None:
    sockets = [bound(), bound()]
    ports = TlsPorts(sockets)
    first, third = ports.lend(1), ports.lend(3)  # the same place by their numbers
    assert first is not None
    assert third is not None
    assert {first, third} == set(sockets)
    assert ports.lend(2) is None
    ports.give_back(first)
    ports.give_back(third)
    assert ports.lend(3) is third
    assert ports.lend(1) is first
    ports.give_back(third)
    ports.forget(3)
    assert ports.lend(2) is third
    assert TlsPorts(sockets).lend(1) is first  # another host's, that knows nothing of this
    for listener in sockets:
        listener.close()


def test_refusals_pass_through_certify() -> None:
    class Refusing:
        async def enter(self, _entry: object, _wanted: type[Any]) -> Any:
            raise refuse(Code.REPORT_REFUSED, "no such target")

    async def quote(report: bytes) -> bytes:
        return report

    with pytest.raises(FaultError):
        asyncio.run(certify(Refusing(), b"target", quote))  # type: ignore[arg-type] # plays one
