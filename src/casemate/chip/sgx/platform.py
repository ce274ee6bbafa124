"""Everything in the chip that holds secrets from the fuses, at the present TCB."""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.crypto import derive
from casemate.chip.errors import CertificationError
from casemate.chip.fuses import Fuses
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.ereport import ereport
from casemate.chip.sgx.provisioning import ProvisioningEnclave, cached_chain, chain_validity, store_chain
from casemate.chip.sgx.quoting import QE_SECS, QuotingEnclave
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import Tcb, store_tcb
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.x509_dates import Validity
from casemate.wire.messages.supervisor import Certify
from casemate.wire.sgx.report import Report, TargetInfo

KEY_ID_SIZE = 32
VCEK_CHAINS = "vcek-{}.pem"
"""Names of VCEK chains in the chip's folder, by TCB."""
_KEY_ID_LABEL = b"casemate report key id v1"


@dataclass(frozen=True, slots=True)
class PckChain:
    """What a chip can tell of its PCK's chain of certificates."""

    root_digest: bytes
    """SHA-256 of the root's certificate."""
    validity: Validity
    """When all certificates of it are valid."""

    @classmethod
    def of(cls, chain: bytes) -> "PckChain":
        """From PEM."""
        return cls(hashlib.sha256(parse_chain("PCK chain", chain)[-1].der).digest(), chain_validity(chain))


class SgxPlatform:
    """Keys, provisioning and quoting of one chip. A microcode update replaces all three."""

    _quoting: QuotingEnclave | None
    _chain: PckChain | None

    def __init__(self, directory: Path, fuses: Fuses, tcb: Tcb) -> None:
        """Powers on at ``tcb``. Quoting waits for :meth:`certified`, unless the chain is in ``directory``."""
        self._directory = directory
        self._fuses = fuses
        self._key_id = (  # CR_REPORT_KEYID: a new one at each power-on, but a seeded machine does the same each time
            derive(fuses.root_seal_key.reveal(), _KEY_ID_LABEL, KEY_ID_SIZE)
            if fuses.seeded
            else secrets.token_bytes(KEY_ID_SIZE)
        )
        self._load(tcb)

    @property
    def ppid(self) -> bytes:
        """Names the chip to its maker."""
        return self._pce.ppid

    @property
    def certification_request(self) -> Certify | None:
        """What to ask the maker; None where the PCK's chain is there."""
        return None if self._quoting is not None else self.renewal_request

    @property
    def renewal_request(self) -> Certify:
        """What to ask the maker for another certificate of the present PCK."""
        return self._pce.request(seeded=self._fuses.seeded)

    @property
    def certificate(self) -> PckChain:
        """What is known of the PCK's chain; :class:`CertificationError` while there is none."""
        if self._chain is None:
            raise CertificationError("this chip's PCK is not certified for its present TCB")
        return self._chain

    def certified(self, chain: bytes) -> None:
        """Takes the maker's chain for the present PCK, and keeps it.

        Raises:
            CertificationError: it is for another key.
        """
        self._pce.check_chain(chain)
        store_chain(self._directory, chain)
        self._take(chain)

    def forget_vcek_chains(self) -> None:
        """Has the certificates of SEV-SNP's keys asked for anew when they are next wanted."""
        for path in self._directory.glob(VCEK_CHAINS.format("*")):
            path.unlink()

    def update(self, tcb: Tcb) -> None:
        """A microcode update: durable when it returns; quoting waits for :meth:`certified` again.

        SIMULATED: enclaves run on, and get REPORTs and keys of the new TCB from now; hardware wants an empty EPC.

        Raises:
            LeafError: SGX_NO_UPDATE.
        """
        updated = self.tcb.updated(tcb)
        if updated == self.tcb:
            return
        store_tcb(self._directory, updated)
        self._load(updated)

    @property
    def quoting(self) -> QuotingEnclave:
        """The quoting enclave; :class:`CertificationError` while the PCK is not certified."""
        if self._quoting is None:
            raise CertificationError("this chip's PCK is not certified for its present TCB")
        return self._quoting

    @property
    def quote_target(self) -> TargetInfo:
        """The target of a REPORT that is to become a quote: the quoting enclave."""
        return QE_SECS.target_info()

    def ereport(self, secs: Secs, target: TargetInfo, report_data: bytes) -> Report:
        """EREPORT by the enclave ``secs``."""
        return ereport(self.keys, secs, target, report_data, key_id=self._key_id)

    def _load(self, tcb: Tcb) -> None:
        self.tcb = tcb
        self.keys = KeyDerivation(self._fuses, tcb.cpu_svn)
        self._pce = ProvisioningEnclave(self.keys, tcb)
        chain = cached_chain(self._directory, self._pce)
        self._quoting = self._chain = None
        if chain is not None:
            self._take(chain)

    def _take(self, chain: bytes) -> None:
        self._chain = PckChain.of(chain)
        self._quoting = self._quoting_enclave(chain)

    def _quoting_enclave(self, chain: bytes) -> QuotingEnclave:
        return QuotingEnclave(self.keys, self.tcb, self._pce, chain, key_id=self._key_id)
