"""A gateway in threads: the agreed HTTP API in front of a :class:`Desk`, or whatever a test wants to answer."""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

from tests.rigs.channel.rig import MR_ENCLAVE
from tests.rigs.client.desk import Desk

from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import WireError
from casemate.wire.messages import host
from casemate.wire.protocol.call import Envelope
from casemate.wire.protocol.faults import Code, Fault, fault

BINARY, JSON, PROBLEM = "application/octet-stream", "application/json", "application/problem+json"
TOKEN = "casemate_" + "t" * 43
STATUS = {
    Code.UNKNOWN_ENCLAVE: 404,
    Code.WRONG_STATE: 409,
    Code.SESSION_UNKNOWN: 409,
    Code.CANNOT_OPEN: 409,
    Code.BUSY: 429,
    Code.LOST: 503,
    Code.TIMED_OUT: 504,
}
ROOT = b"\x30\x03\x02\x01\x05"
"""Stands for the root's certificate, which clients carry and do not read."""


class Request:
    """One request, and the means to answer it well or badly."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.method = handler.command
        self.path = urlsplit(handler.path).path
        self.query = parse_qs(urlsplit(handler.path).query)
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length", "0")))

    def says(self, status: int, body: bytes, media_type: str = JSON, **headers: str) -> None:
        """An answer that is HTTP at least."""
        self._handler.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def says_json(self, status: int, value: object) -> None:
        self.says(status, json.dumps(value).encode())

    def refuses(self, said: Fault) -> None:
        status = STATUS.get(said.code, 422)
        self.problem(status, said.code, said.reason)

    def problem(self, status: int, code: str, detail: str, **headers: str) -> None:
        document = {
            "type": f"urn:casemate:problem:{code}",
            "title": "title",
            "status": status,
            "detail": detail,
            "code": code,
            "instance": self.path,
            "request_id": "r-1",
        }
        self.says(status, json.dumps(document).encode(), PROBLEM, **headers)

    def raw(self, *parts: bytes, hang_up: bool = True) -> None:
        """Bytes that need not be HTTP."""
        for part in parts:
            self._handler.wfile.write(part)
            self._handler.wfile.flush()
        if hang_up:
            self._handler.close_connection = True
            self._handler.connection.shutdown(socket.SHUT_RDWR)


Respond = Callable[[Request], None]


class Web:
    """A listening gateway. ``requests`` holds what came, for a test to look at."""

    def __init__(self, respond: Respond, *, certificate: str | None = None, port: int = 0) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _do(self) -> None:
                request = Request(self)
                outer.requests.append(request)
                try:
                    respond(request)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = _do  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                """Nothing: tests read ``requests``."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            connections = 0

            def get_request(self) -> tuple[Any, Any]:
                Server.connections += 1
                return super().get_request()

            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is part of most tests."""

        self.requests: list[Request] = []
        self._server = Server(("127.0.0.1", port), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._serving.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}" if self.scheme == "https" else f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were made."""
        return cast("Any", self._server).connections  # type: ignore[no-any-return] # a Server of this module

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listens no more; connections that were made live on."""
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()


class Gateway:
    """Answers as an honest gateway does, from what ``desk`` says."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._images: dict[str, str] = {}

    def __call__(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            code = "token-unknown" if "authorization" in request.headers else "token-wanted"
            request.problem(401, code, "a bearer token is wanted")
            return
        with self._lock:
            self._route(request)

    def _route(self, request: Request) -> None:  # noqa: C901 - one case a route
        match [request.method, *request.path.strip("/").split("/")]:
            case ["GET", "v1", "machine"]:
                machine = {"platform": "linux", "runtime": {"core": "ab" * 32}, "seeded": True, "version": "0.1.0"}
                request.says_json(200, {**machine, "root_certificate": encode_chain(ROOT).decode()})
            case ["GET", "v1", "images", image] if image in self._images:
                request.says_json(200, {"image": image, "name": self._images[image], "mr_enclave": MR_ENCLAVE.hex()})
            case ["GET", "v1", "images", _]:
                request.problem(404, "unknown-image", "no such image")
            case ["POST", "v1", "images"]:
                put = parse_message(request.body, host.PutImage)
                image = hashlib.sha256(put.sgxs + put.sigstruct).hexdigest()
                self._images[image] = put.name
                request.says_json(201, {"image": image, "name": put.name, "mr_enclave": MR_ENCLAVE.hex()})
            case ["POST", "v1", "enclaves"]:
                assert json.loads(request.body)["image"] in self._images
                assert request.headers["idempotency-key"]
                request.says_json(201, shown(self._ask(host.StartEnclave(1))))
            case ["GET", "v1", "enclaves"]:
                found = cast("host.EnclavesAre", self._ask(host.ListEnclaves()))
                request.says_json(200, {"enclaves": [shown(each) for each in found.enclaves]})
            case ["GET", "v1", "enclaves", number, "evidence"]:
                nonce = bytes.fromhex(request.query["nonce"][0])
                self._binary(request, self._ask(host.GetEvidence(int(number), nonce)))
            case ["POST", "v1", "enclaves", number, "calls"]:
                self._call(request, int(number))
            case ["POST", "v1", "enclaves", number, "start"]:
                self._json(request, self._ask(host.StartEnclave(int(number))))
            case ["POST", "v1", "enclaves", number, "stop"]:
                self._json(request, self._ask(host.StopEnclave(int(number))))
            case ["DELETE", "v1", "enclaves", number]:
                self._json(request, self._ask(host.DestroyEnclave(int(number))))
            case _:
                request.problem(404, "not-found", f"no {request.path} here")

    def _call(self, request: Request, number: int) -> None:
        assert request.headers["content-type"] == BINARY
        try:
            envelope = parse_message(request.body, Envelope)
        except WireError as error:
            request.refuses(fault(Code.MALFORMED, str(error)))
            return
        said = self._ask(host.Call(number, envelope))
        if isinstance(said, Fault):
            request.refuses(said)
        else:
            request.says(200, cast("host.Answer", said).sealed, BINARY)

    def _ask(self, question: object) -> object:
        return self._desk.answer(question)

    def _binary(self, request: Request, said: object) -> None:
        if isinstance(said, Fault):
            request.refuses(said)
        else:
            request.says(200, encode_message(said), BINARY)

    def _json(self, request: Request, said: object) -> None:
        if isinstance(said, Fault):
            request.refuses(said)
        else:
            request.says_json(200, shown(said))


def shown(said: object) -> dict[str, object]:
    """One enclave as the API shows it, with members of a later version."""
    assert isinstance(said, host.EnclaveIs)
    return {
        "id": said.enclave,
        "name": said.name,
        "image": said.image.hex(),
        "mr_enclave": said.mr_enclave.hex(),
        "mr_signer": said.mr_signer.hex(),
        "isv_prod_id": said.isv_prod_id,
        "isv_svn": said.isv_svn,
        "debug": said.debug,
        "state": str(said.state),
        "reason": said.reason,
        "ra_tls_port": None,
        "tee": str(said.tee),
        "launch_digest": None,
    }
