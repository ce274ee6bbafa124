"""The provisioning certification enclave (PCE): holds this chip's PCK and certifies its quoting enclave with it.

As on hardware, the PCK follows from the provisioning key at the present TCB, so each TCB has another one, and the PPID
from the provisioning key at TCB zero, so it names the chip at every TCB.

SIMULATED: on hardware the PCE is a signed enclave, here a function of the chip. There Intel derives the PCK too and
signs its public half unasked; here the chip asks the simulated maker, through the supervisor, which believes it.
"""

import hashlib
from pathlib import Path

from casemate.chip.crypto import SigningKey, derive
from casemate.chip.errors import CertificationError
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.ereport import check_report
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import Tcb
from casemate.chip.state_directory import write_state
from casemate.process.plain_file import read_plain
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.x509_dates import ANY_TIME, Validity, common_validity
from casemate.wire.errors import WireError
from casemate.wire.messages.supervisor import MAX_CHAIN, Certify
from casemate.wire.sgx.attributes import (
    ALL_ATTRIBUTES,
    XFRM_LEGACY,
    AttributeFlag,
    Attributes,
    CetAttributes,
    MiscSelect,
)
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.report import Report
from casemate.wire.sgx.simulated_platform import FMSPC, PCE_ID

CHAIN_FILE = "pck.pem"
PPID_SIZE = 16

_PCK_LABEL = b"casemate provisioning certification key v1"
_PPID_LABEL = b"casemate platform provisioning id v1"
_SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480)."""


class ProvisioningEnclave:
    """The PCE at one TCB."""

    def __init__(self, keys: KeyDerivation, tcb: Tcb) -> None:
        self._keys = keys
        self._tcb = tcb
        self.secs = Secs(
            attributes=Attributes(
                AttributeFlag.INIT | AttributeFlag.MODE64BIT | AttributeFlag.PROVISIONKEY, XFRM_LEGACY
            ),
            misc_select=MiscSelect(0),
            cet_attributes=CetAttributes(0),
            mr_enclave=hashlib.sha256(b"SIMULATED: code of Casemate's provisioning enclave").digest(),
            mr_signer=hashlib.sha256(b"SIMULATED: signer of Casemate's provisioning enclave").digest(),
            isv_prod_id=1,
            isv_svn=tcb.pce_svn,
            isv_ext_prod_id=bytes(16),
            isv_family_id=bytes(16),
            config_id=bytes(64),
            config_svn=0,
        )
        now = keys.egetkey(self.secs, _provision_key(tcb.cpu_svn, tcb.pce_svn))
        self._pck = SigningKey.derived(now, _PCK_LABEL)
        ever = keys.egetkey(self.secs, _provision_key(bytes(len(tcb.cpu_svn)), 0))
        self.ppid = derive(ever.reveal(), _PPID_LABEL, PPID_SIZE)
        """Names the chip at every TCB."""

    def certify(self, report: Report) -> bytes:
        """The PCK's signature over a REPORT that a quoting enclave of this chip made for the PCE, R || S."""
        check_report(self._keys, self.secs, report)
        return self._pck.sign(report.body.encode())

    def request(self, *, seeded: bool) -> Certify:
        """The request that the maker certifies the PCK by."""
        return Certify(
            public_key=b"\x04" + self._pck.public_key,
            ppid=self.ppid,
            cpu_svn=self._tcb.cpu_svn,
            pce_svn=self._tcb.pce_svn,
            pce_id=int.from_bytes(PCE_ID),
            fmspc=FMSPC,
            seeded=seeded,
        )

    def check_chain(self, chain: bytes) -> None:
        """Refuses a chain whose first certificate is not for this PCK. Whether it is genuine, verifiers will say."""
        try:
            leaf = parse_chain("PCK chain", chain)[0].der
        except WireError as error:
            raise CertificationError(str(error)) from None
        if _SPKI_P256 + b"\x04" + self._pck.public_key not in leaf:
            raise CertificationError("the PCK chain's first certificate is for another key than this chip's at its TCB")


def cached_chain(directory: Path, pce: ProvisioningEnclave) -> bytes | None:
    """The chain that was stored for this very PCK, if there is one."""
    try:
        chain = read_plain(directory / CHAIN_FILE, MAX_CHAIN + 1)
        pce.check_chain(chain)
    except (OSError, CertificationError):
        return None  # none yet, or from before a microcode update: the maker is asked again
    return chain


def chain_validity(chain: bytes) -> Validity:
    """When all certificates of a PCK's chain are valid; any time where they do not say so readably.

    Whether they are genuine, and what dates that nobody can read are worth, verifiers will say.
    """
    try:
        return common_validity(each.der for each in parse_chain("PCK chain", chain))
    except WireError:
        return ANY_TIME


def store_chain(directory: Path, chain: bytes) -> None:
    """Keeps the chain for the next start."""
    write_state(directory / CHAIN_FILE, chain)


def _provision_key(cpu_svn: bytes, isv_svn: int) -> KeyRequest:
    return KeyRequest(
        key_name=KeyName.PROVISION_KEY,
        key_policy=KeyPolicy(0),
        isv_svn=isv_svn,
        cet_attributes_mask=0,
        cpu_svn=cpu_svn,
        attribute_mask=ALL_ATTRIBUTES,
        key_id=bytes(32),
        misc_mask=0,
        config_svn=0,
    )
