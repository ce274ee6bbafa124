"""SECS: an initialised enclave's identity, as EINIT has fixed it (SDM vol. 3D, 38.7)."""

from dataclasses import dataclass

from casemate.wire.sgx.attributes import Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.report import TargetInfo


@dataclass(frozen=True, slots=True)
class Secs:
    """An enclave's identity. Leaf functions take it from the socket of a request, never from the request."""

    attributes: Attributes
    misc_select: MiscSelect
    cet_attributes: CetAttributes
    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    isv_ext_prod_id: bytes
    """16 bytes; zero without KSS, as are the following three."""
    isv_family_id: bytes
    config_id: bytes
    """64 bytes."""
    config_svn: int

    def target_info(self) -> TargetInfo:
        """Names this enclave as the one that shall be able to check a REPORT."""
        return TargetInfo(
            measurement=self.mr_enclave,
            attributes=self.attributes,
            cet_attributes=self.cet_attributes,
            config_svn=self.config_svn,
            misc_select=self.misc_select,
            config_id=self.config_id,
        )
