"""Baseline of the gateway: FastAPI on uvicorn with h11, without a host behind it.

``python -m bench.bare_http DESCRIPTOR`` serves a listening socket: ``POST /v1/enclaves/0/calls`` returns the request's
body, so that Casemate's own client can ask it, and ``POST /compute`` takes and returns JSON of the learner's form.
"""

import socket
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
ECHO = "/v1/enclaves/0/calls"


class BareHttp:
    """The server's process; a context manager starts and ends it."""

    def __enter__(self) -> Self:
        # asyncio sets TCP_NODELAY only on sockets whose protocol is given explicitly.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind((HOST, 0))
            listener.listen(64)
            self.port: int = listener.getsockname()[1]
            command = [sys.executable, "-m", "bench.bare_http", str(listener.fileno())]
            self._process = subprocess.Popen(command, pass_fds=(listener.fileno(),), stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()


def main() -> None:
    """Serves until SIGTERM."""
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from pydantic import BaseModel

    class Asked(BaseModel):
        function: str
        input: Any

    app = FastAPI()

    @app.post(ECHO)
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/octet-stream")

    @app.post("/compute")
    async def compute(asked: Asked) -> dict[str, Any]:
        return {"function": asked.function, "result": asked.input}

    server = uvicorn.Server(uvicorn.Config(app, http="h11", loop="asyncio", ws="none", log_level="error"))
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
