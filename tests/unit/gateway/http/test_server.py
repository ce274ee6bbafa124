"""Over real sockets: time limits, limits on connections, what is no HTTP, and the end."""

import asyncio
import contextlib
import json
import os
import ssl
from pathlib import Path

import httpx
import pytest
from tests.rigs.gateway.front import TOKENS, Front, front, run
from tests.rigs.gateway.serving import AUTHORISED, HEALTH, Serving, certificate, gone

from casemate.gateway.http import connections
from casemate.gateway.http.problems import MEDIA_TYPE
from casemate.gateway.http.settings import Settings
from casemate.link.server_tls import CertificateFileError, server_context
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """All patience is short."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(connections, "LINGER", 0.3)
    monkeypatch.setattr(connections, "WRITE_TIMEOUT", 0.3)


def test_every_answer_carries_the_security_headers_and_no_servers_name(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, httpx.AsyncClient() as client:
            for path in ("health", "v1/machine", "docs"):
                answer = await client.get(f"http://127.0.0.1:{serving.port}/{path}")
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["x-frame-options"] == "DENY"
                assert "server" not in answer.headers
                assert "date" in answer.headers

    run(work())


MALFORMED = [
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"\x00" * 1000,
    b"A" * 100_000,
    b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_http_is_refused_and_hung_up_on(gateway: Front, text: bytes) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving:
            answer = b""
            with contextlib.suppress(ConnectionResetError):  # before it was read
                async with asyncio.timeout(5):
                    answer = await serving.asked(text)
            assert await serving.is_well()
        if not answer:  # hung up on while it was still sending
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 505"))
        assert MEDIA_TYPE.encode() in head
        assert json.JSONDecoder().raw_decode(body.decode())[0]["code"] in ("malformed", "version-refused")

    run(work())


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("text", [b"", b"GET /health HT", HEALTH[:-2], HEALTH + b"GET"])
def test_a_head_that_does_not_end_is_hung_up_on(gateway: Front, text: bytes) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(3):
            answer = await serving.asked(text)
            assert answer.count(b"HTTP/1.1 200") == text.count(HEALTH)
            assert b"HTTP/1.1 400" not in answer

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_head_that_trickles_in_is_hung_up_on(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(3):
            reader, writer = await serving.connect()
            start = asyncio.get_running_loop().time()
            with contextlib.suppress(ConnectionError):
                for byte in HEALTH:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
                    if reader.at_eof():
                        break
                assert await reader.read() == b""
            assert asyncio.get_running_loop().time() - start < 2
            await gone(writer)

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_connection_may_be_kept_and_used_again(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, httpx.AsyncClient() as client:
            for _ in range(3):
                assert (await client.get(f"http://127.0.0.1:{serving.port}/health")).status_code == 200
                await asyncio.sleep(0.4)  # longer than a head may take
            assert len(serving.server.server_state.connections) == 1

    run(work())


def test_requests_sent_ahead_are_answered_in_order(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving:
            reader, writer = await serving.connect()
            one = b"GET /v1/enclaves/%d HTTP/1.1\r\n" + AUTHORISED + b"\r\n"
            writer.write(b"".join(one % number for number in range(5)))
            for number in range(5):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                assert json.loads(await reader.readexactly(size))["instance"] == f"/v1/enclaves/{number}"
            await gone(writer)

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_refused_body_is_swallowed_for_a_while_so_that_the_refusal_is_read(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(5):
            reader, writer = await serving.connect()
            head = b"POST /v1/enclaves/1/calls HTTP/1.1\r\nContent-Type: application/octet-stream\r\n" + AUTHORISED
            writer.write(head + b"Content-Length: 99999999999\r\n\r\n" + bytes(1 << 20))
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")
            with contextlib.suppress(ConnectionError):
                while True:  # and not for ever
                    writer.write(bytes(1 << 16))
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.transport.abort()
            await asyncio.sleep(0)

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_connection_whose_refused_body_has_come_may_be_used_again(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(5):
            reader, writer = await serving.connect()
            writer.write(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
            assert (await reader.readline()).startswith(b"HTTP/1.1 405")
            await reader.readuntil(b"}")
            writer.write(b"cd")
            await asyncio.sleep(0.5)
            writer.write(HEALTH)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await gone(writer)

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_client_that_does_not_read_is_hung_up_on(gateway: Front) -> None:
    gateway.host.collateral = lambda: b"x" * (1 << 25)  # type: ignore[method-assign]

    async def work() -> None:
        async with Serving(gateway) as serving:
            reader, writer = await serving.connect()
            writer.write(b"GET /v1/collateral HTTP/1.1\r\n" + AUTHORISED + b"\r\n")
            await reader.read(1)
            await asyncio.sleep(1.5)
            assert not serving.server.server_state.connections
            writer.transport.abort()
            await asyncio.sleep(0)
            assert await serving.is_well()

    run(work())


def test_at_the_limit_whoever_waits_longest_makes_room(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway, connections=8) as serving:
            waiting = [await serving.connect() for _ in range(30)]
            await asyncio.sleep(0.1)
            assert len(serving.server.server_state.connections) <= 8
            assert await serving.is_well()
            first, last = waiting[0], waiting[-1]
            with contextlib.suppress(ConnectionError):
                assert await first[0].read() == b""
            last[1].write(HEALTH)
            assert (await last[0].readline()).startswith(b"HTTP/1.1 200")
            for _, writer in waiting:
                await gone(writer)

    run(work())


def test_at_the_limit_a_request_under_way_is_not_hung_up_on(gateway: Front) -> None:
    async def work() -> None:
        gate = asyncio.Event()
        gateway.host.slow = gate.wait  # type: ignore[assignment]
        async with Serving(gateway, connections=4) as serving:
            body = b'{"function": "primes", "input": 1}'
            head = b"POST /enclave/compute HTTP/1.1\r\nContent-Type: application/json\r\n" + AUTHORISED
            reader, writer = await serving.connect()
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await asyncio.sleep(0.1)
            idle = [await serving.connect() for _ in range(20)]
            await asyncio.sleep(0.1)
            gate.set()
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            for _, each in [(reader, writer), *idle]:
                await gone(each)

    run(work())


@pytest.mark.usefixtures("hasty")
def test_a_thousand_slow_and_malformed_connections_stop_nobody(gateway: Front) -> None:
    async def work() -> None:
        async with Serving(gateway, connections=200) as serving:
            writers = []
            for number in range(1000):
                _, writer = await serving.connect()
                writer.write([b"GET /he", b"", MALFORMED[number % len(MALFORMED)], HEALTH[:-3]][number % 4])
                writers.append(writer)
                if number % 100 == 0:
                    assert await serving.is_well()
            assert await serving.is_well()
            for writer in writers:
                await gone(writer)

    run(work())


def test_draining_finishes_what_is_under_way_and_ends_streams(gateway: Front) -> None:
    async def work() -> None:
        gate = asyncio.Event()
        gateway.host.slow = gate.wait  # type: ignore[assignment]
        serving = Serving(gateway)
        url = f"http://127.0.0.1:{serving.port}"
        headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
        running = asyncio.create_task(serving.server.run_on([serving.listener]))
        async with httpx.AsyncClient(headers=headers, timeout=20) as client:
            asked = {"function": "primes", "input": 1}
            calling = asyncio.create_task(client.post(f"{url}/enclave/compute", json=asked))
            following = asyncio.create_task(client.get(f"{url}/v1/events"))
            await asyncio.sleep(0.2)
            start = asyncio.get_running_loop().time()
            gateway.gateway.close()
            serving.server.drain(10)
            await asyncio.sleep(0.3)
            with pytest.raises(httpx.ConnectError):
                await httpx.AsyncClient().get(f"{url}/health")
            assert (await following).text.rstrip().endswith("event: end\ndata: {}")
            gate.set()
            assert (await calling).status_code == 200
            await running
            assert asyncio.get_running_loop().time() - start < 5

    run(work())


def test_what_hangs_does_not_hold_up_the_end(gateway: Front) -> None:
    async def work() -> None:
        gateway.host.slow = asyncio.Event().wait  # type: ignore[assignment]
        serving = Serving(gateway)
        headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
        running = asyncio.create_task(serving.server.run_on([serving.listener]))
        async with httpx.AsyncClient(headers=headers) as client:
            asked = {"function": "primes", "input": 1}
            url = f"http://127.0.0.1:{serving.port}/enclave/compute"
            calling = asyncio.create_task(client.post(url, json=asked))
            await asyncio.sleep(0.2)
            serving.server.drain(0.5)
            async with asyncio.timeout(4):
                await running
            await asyncio.wait({calling})
            calling.exception()

    run(work())


def test_serves_tls_from_certificate_files(gateway: Front, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)

    async def work() -> None:
        async with Serving(gateway, tls=server_context(cert, key)) as serving:
            trust = ssl.create_default_context(cafile=str(cert))
            async with httpx.AsyncClient(verify=trust) as client:
                assert (await client.get(f"https://localhost:{serving.port}/health")).status_code == 200
            async with httpx.AsyncClient() as client:
                with pytest.raises(httpx.HTTPError):
                    await client.get(f"http://localhost:{serving.port}/health")
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("DEFAULT:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await asyncio.open_connection("127.0.0.1", serving.port, ssl=old)

    run(work())


def test_refuses_certificate_files_that_are_of_no_use(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for pair in ((tmp_path / "none.pem", key), (cert, tmp_path / "none.pem"), (empty, key), (cert, empty), (key, cert)):
        with pytest.raises(CertificateFileError, match=r"\.pem"):
            server_context(*pair)
    with pytest.raises(CertificateFileError, match="is PEM without a certificate: were certificate and key exchanged"):
        server_context(key, cert)
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    for pair in ((pipe, key), (cert, pipe)):
        with pytest.raises(CertificateFileError, match="is no plain file"):
            server_context(*pair)
    with pytest.raises(CertificateFileError, match="passphrase"):
        server_context(*certificate(tmp_path, passphrase=b"sesame"))
    with pytest.raises(CertificateFileError, match="the key is another certificate's"):
        server_context(*certificate(tmp_path, other_key=True))


def test_a_refusal_of_the_hosts_goes_over_the_wire_as_a_problem(gateway: Front) -> None:
    gateway.host.trouble = refuse(Code.BUSY, "later")

    async def work() -> None:
        async with Serving(gateway) as serving, httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
            answer = await client.get(f"http://127.0.0.1:{serving.port}/v1/collateral", headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")

    run(work())


def test_settings_of_a_gateway_fit_the_descriptors_that_a_host_has(tmp_path: Path) -> None:
    assert front(tmp_path).gateway is not None
    assert Settings().connections < 4096 / 2
