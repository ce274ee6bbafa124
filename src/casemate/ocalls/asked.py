"""What a handler may know about the enclave that asks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """The enclave that asks, which a handler gets as its second argument if it takes two.

    ``mr_enclave`` and ``mr_signer`` are measured. ``name`` is what whoever launched the enclave has called it, and so
    nothing to decide by.
    """

    ocall: str
    """The OCALL's name, as the manifest has it."""
    enclave: int
    """The number of the deployment."""
    name: str
    """The deployment's name."""
    mr_enclave: bytes
    """The image's measurement, 32 bytes."""
    mr_signer: bytes
    """The hash of its developer's key, 32 bytes."""
    product_id: int
    security_version: int
    debug: bool
    """The operator can look into this enclave."""

    def __str__(self) -> str:
        """The enclave, for a log."""
        return f"enclave {self.enclave} ({self.name!r}, MRENCLAVE {self.mr_enclave.hex()})"
