"""The maker, run on demand: one process a request, JSON in and out, so its keys are in memory for moments only."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from casemate.wire.encodings.pem import parse_chain
from casemate.wire.messages.snp_certification import (
    CertifyVcek,
    GiveVlek,
    PublishedFirmware,
    VcekCertified,
    VlekGiven,
)
from casemate.wire.messages.supervisor import Certified, Certify
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.tcb import Product

MAKER_TIMEOUT = 30.0
"""Longest run of the maker (seconds)."""


class MakerRunner:
    """Runs maker commands for the machine in ``state``, one at a time."""

    def __init__(self, state: Path, seed: str | None) -> None:
        self._state = state
        self._seed = seed
        self._turn = asyncio.Lock()

    async def initialise(self) -> bytes:
        """Makes the maker's roots if the state directory has none; the root certificate (DER)."""
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

    async def answer(self, question: Certify | CertifyVcek | GiveVlek) -> Certified | VcekCertified | VlekGiven:
        """The maker's answer to a chip's request."""
        match question:
            case Certify():
                return Certified(await self.certify(question))
            case CertifyVcek():
                return VcekCertified(await self.certify_vcek(question))
            case GiveVlek():
                return await self.give_vlek(question)

    async def certify_vcek(self, request: CertifyVcek) -> bytes:
        """The VCEK's chain (PEM, leaf first) for a chip; its first request at a TCB registers it as manufactured."""
        answer = await self._run(
            "issue-vcek",
            given={
                "product": request.product,
                "public_key": request.public_key.hex(),
                "hw_id": request.hw_id.hex(),
                "tcb": request.tcb.hex(),
                "seeded": request.seeded,
            },
        )
        return str(answer["chain"]).encode()

    async def give_vlek(self, request: GiveVlek) -> VlekGiven:
        """A cloud provider's VLEK, wrapped for a chip."""
        answer = await self._run(
            "issue-vlek",
            given={
                "product": request.product,
                "csp_id": request.csp_id,
                "tcb": request.tcb.hex(),
                "wrapping_key": request.wrapping_key.hex(),
            },
        )
        return VlekGiven(str(answer["chain"]).encode(), bytes.fromhex(answer["wrapped_key"]))

    async def amd_root(self, product: Product) -> bytes:
        """The root certificate of a product (DER)."""
        said = await self._run("amd-root", "--product", product)
        return parse_chain("root_certificate", str(said["root_certificate"]).encode())[0].der

    async def amd_crl(self, product: Product) -> bytes:
        """The revocation list of a product's root (DER)."""
        return bytes.fromhex((await self._run("amd-crl", "--product", product))["crl"])

    async def newest_firmware(self) -> tuple[PublishedFirmware, ...]:
        """The newest published firmware of each SEV-SNP product."""
        return tuple(_published(Product(name), one) for name, one in (await self._run("newest-firmware")).items())

    async def recover_firmware(self, product: Product, advisory: str) -> PublishedFirmware:
        """Publishes a new TCB of a product."""
        said = await self._run("recover-firmware", "--product", product, "--advisory", advisory)
        return _published(product, said)

    async def revoke_snp(self, product: Product, option: str, value: str) -> dict[str, Any]:
        """Revokes certificates: those of a chip (``--hw-id``), a provider (``--csp-id``), or an ``--issuer``."""
        return await self._run("revoke-amd", "--product", product, f"{option}={value}")

    async def collateral(self) -> bytes:
        """QuoteCollateralV3 JSON, as the host will serve it."""
        return await self._said("collateral")

    async def renew(self) -> dict[str, Any]:
        """Renews the maker's own certificates that are not valid now: ``renewed`` (whose roots) and ``seeded``."""
        return await self._run("renew")

    async def newest_tcb(self) -> dict[str, Any]:
        """The newest TCB that a microcode update can reach: ``cpu_svn`` (hex) and ``pce_svn``."""
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
        """Runs the maker; returns its output. Repeats a crashed run once, as each command leaves its files whole."""
        question = b"" if given is None else json.dumps(given).encode()
        async with self._turn:
            code, said, complaint = await self._ran(command, *arguments, question=question)
            if code < 0:
                code, said, complaint = await self._ran(command, *arguments, question=question)
        if code < 0:
            raise refuse(Code.UNAVAILABLE, f"maker {command}: was killed by signal {-code}, twice")
        if code:
            raise refuse(Code.UNAVAILABLE, f"maker {command}: {complaint.decode(errors='replace').strip()[-2000:]}")
        return said

    async def _ran(self, command: str, *arguments: str, question: bytes) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "casemate.makers", "--state", str(self._state), command, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complaint = await asyncio.wait_for(process.communicate(question), MAKER_TIMEOUT)
        except TimeoutError:
            raise refuse(Code.TIMED_OUT, f"maker {command}: no answer in {MAKER_TIMEOUT:g} s") from None
        finally:
            if process.returncode is None:  # also where the machine ends: it must not write where nothing is any longer
                process.kill()
                await process.wait()
        return process.returncode or 0, said, complaint


def _published(product: Product, said: dict[str, Any]) -> PublishedFirmware:
    return PublishedFirmware(product, bytes.fromhex(said["tcb"]), said["major"], said["minor"], said["build"])
