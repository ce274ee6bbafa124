import socket
import threading
from pathlib import Path

import pytest

from casemate.cli import gateway_health as health
from casemate.cli.gateway_health import UnhealthyError, wait_for_health
from casemate.client import local
from casemate.client.local import LocalMachine
from casemate.wire.messages.control import MachineIs, ProcessIs


def machine(url: str, last_death: str = "") -> LocalMachine:
    status = MachineIs(
        processes=(ProcessIs("gateway", 1, 0, 0, last_death),),
        host_socket="",
        url=url,
        started_at=0,
        lasting=True,
        platform="",
        runtime=(),
        seed_digest=None,
        root_certificate=b"",
    )
    return LocalMachine(Path("/state"), status)


def answering(listener: socket.socket, *answers: bytes) -> threading.Thread:
    def serve() -> None:
        for answer in answers:
            client, _ = listener.accept()
            with client:
                assert client.recv(4096).startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_gateway_that_answers_is_there(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    there = machine(url(listener))
    monkeypatch.setattr(local, "running_machine", lambda _: there)
    with listener:
        thread = answering(listener, b"", b"HTTP/1.1 503 Busy\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
        wait_for_health(there)
        thread.join()


def test_a_gateway_that_died_says_so_in_its_last_words(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.close()
    there = machine("http://127.0.0.1:1", "the gateway ended with 2; its last words: no key")
    monkeypatch.setattr(local, "running_machine", lambda _: there)
    with pytest.raises(UnhealthyError, match=r"its last words: no key; /state/machine\.log tells more"):
        wait_for_health(there)


def test_a_gateway_that_never_answers_is_given_up(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HEALTH_TIME", 0.0)
    there = machine(url(listener))
    monkeypatch.setattr(local, "running_machine", lambda _: there)
    with listener:
        thread = answering(listener, b"HTTP/1.1 500 No\r\n\r\n")
        with pytest.raises(UnhealthyError, match=r"the gateway at http://\S+ does not serve: HTTP/1.1 500 No"):
            wait_for_health(there)
        thread.join()
