import socket

import pytest

from casemate.supervisor import listeners
from casemate.supervisor.errors import PortError
from casemate.supervisor.listeners import listen_http
from casemate.supervisor.options import PORTS_TRIED


@pytest.fixture
def taken() -> "socket.socket":
    return socket.create_server(("127.0.0.1", 0))


def test_the_next_free_port_is_taken_where_none_is_asked_for(
    taken: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = taken.getsockname()[1]
    monkeypatch.setattr(listeners, "DEFAULT_PORT", port)
    with taken, listen_http("127.0.0.1", None) as listener:
        assert port < listener.getsockname()[1] < port + PORTS_TRIED
        assert listener.proto == socket.IPPROTO_TCP


def test_a_port_that_is_asked_for_and_taken_is_refused(taken: socket.socket) -> None:
    with taken, pytest.raises(PortError, match="somebody listens there already: name another with --port"):
        listen_http("127.0.0.1", taken.getsockname()[1])


def test_no_free_port_at_all_is_refused(taken: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "DEFAULT_PORT", taken.getsockname()[1])
    monkeypatch.setattr(listeners, "PORTS_TRIED", 1)
    with taken, pytest.raises(PortError, match="name one with --port"):
        listen_http("127.0.0.1", None)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("localhost", "is no address"),
        ("192.0.2.1", "none of this computer's addresses"),
        ("127.0.0.1:8804", "give them as --bind 127.0.0.1 --port 8804"),
        ("[::1]:8804", "give them as --bind ::1 --port 8804"),
    ],
)
def test_an_address_that_is_none_here_is_refused(address: str, complaint: str) -> None:
    with pytest.raises(PortError, match=complaint):
        listen_http(address, None)
