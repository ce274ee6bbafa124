"""A gateway that listens on a real port."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.rigs.gateway.front import TOKENS, Front

from casemate.gateway.http.server import HttpServer
from casemate.wire.protocol.access_tokens import Role

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
AUTHORISED = f"Host: localhost\r\nAuthorization: Bearer {TOKENS[Role.ADMIN]}\r\n".encode()


class Serving:
    """A gateway at a port of the loopback."""

    def __init__(self, gateway: Front, *, connections: int = 100, tls: ssl.SSLContext | None = None) -> None:
        self.front = gateway
        self.server = HttpServer(gateway.gateway.edge, connections=connections, tls=tls)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port: int = self.listener.getsockname()[1]

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.server.run_on([self.listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.front.gateway.close()
        self.server.drain(0)
        await self._running

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def asked(self, text: bytes) -> bytes:
        """All that comes back until the server hangs up."""
        reader, writer = await self.connect()
        writer.write(text)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := await reader.read(65536):
                answer += part
        await gone(writer)
        return answer

    async def is_well(self) -> bool:
        """Whether somebody else is served, soon."""
        async with asyncio.timeout(2):
            reader, writer = await self.connect()
            writer.write(HEALTH)
            line = await reader.readline()
            await gone(writer)
            return line == b"HTTP/1.1 200 \r\n" or line.startswith(b"HTTP/1.1 200")


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def certificate(folder: Path, *, passphrase: bytes | None = None, other_key: bool = False) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and a key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown = ec.generate_private_key(ec.SECP256R1()) if other_key else key
    locked = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    files[1].write_bytes(shown.private_bytes(serialization.Encoding.PEM, form, locked))
    return files
