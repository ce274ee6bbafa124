"""The vendor, run on demand: one process a request, JSON in and out, so its keys are in memory for moments only."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from casemate.wire.faults import Code, refuse
from casemate.wire.messages.supervisor import Certify
from casemate.wire.pem import parse_chain

VENDOR_TIMEOUT = 30.0
"""Longest run of the vendor (seconds)."""


class VendorDesk:
    """Runs vendor commands for the machine in ``state``, one at a time."""

    def __init__(self, state: Path, seed: str | None) -> None:
        self._state = state
        self._seed = seed
        self._turn = asyncio.Lock()

    async def initialise(self) -> bytes:
        """Makes the vendor's roots if the state directory has none; the root certificate (DER)."""
        said = await self._run("init", *(("--seed", self._seed) if self._seed is not None else ()))
        return parse_chain("root_certificate", str(said["root_certificate"]).encode())[0].der

    async def certify(self, request: Certify) -> bytes:
        """The PCK chain (PEM, leaf first) for a chip; its first request at a TCB registers it as manufactured."""
        answer = await self._run(
            "issue-pck",
            given={
                "public_key": request.public_key.hex(),
                "ppid": request.ppid.hex(),
                "cpu_svn": request.cpu_svn.hex(),
                "pce_svn": request.pce_svn,
                "pce_id": request.pce_id,
                "fmspc": request.fmspc.hex(),
                "seeded": request.seeded,
            },
        )
        return str(answer["chain"]).encode()

    async def collateral(self) -> bytes:
        """QuoteCollateralV3 JSON, as the host will serve it."""
        return await self._said("collateral")

    async def newest_tcb(self) -> dict[str, Any]:
        """What a microcode update brings a chip to: ``cpu_svn`` (hex) and ``pce_svn``."""
        return await self._run("newest-tcb")

    async def recover_tcb(self, advisory: str) -> dict[str, Any]:
        """Publishes a new TCB level."""
        return await self._run("recover-tcb", "--advisory", advisory)

    async def revoke(self, ppid: bytes) -> dict[str, Any]:
        """Revokes a chip's certificates."""
        return await self._run("revoke", "--ppid", ppid.hex())

    async def _run(self, command: str, *arguments: str, given: object = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._said(command, *arguments, given=given))
        return answer

    async def _said(self, command: str, *arguments: str, given: object = None) -> bytes:
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "casemate.vendor", "--state", str(self._state), command, *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            question = b"" if given is None else json.dumps(given).encode()
            try:
                said, complaint = await asyncio.wait_for(process.communicate(question), VENDOR_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise refuse(Code.TIMED_OUT, f"vendor {command}: no answer in {VENDOR_TIMEOUT:g} s") from None
        if process.returncode != 0:
            raise refuse(Code.UNAVAILABLE, f"vendor {command}: {complaint.decode(errors='replace').strip()[-2000:]}")
        return said
