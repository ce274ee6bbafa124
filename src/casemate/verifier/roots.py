"""The trust anchors that a policy can name."""

import hashlib
from dataclasses import dataclass
from typing import Final

from casemate.wire.pem import parse_chain

INTEL_SGX_ROOT_CA = parse_chain(
    "Intel SGX Root CA",
    b"""-----BEGIN CERTIFICATE-----
MIICjzCCAjSgAwIBAgIUImUM1lqdNInzg7SVUr9QGzknBqwwCgYIKoZIzj0EAwIw
aDEaMBgGA1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENv
cnBvcmF0aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJ
BgNVBAYTAlVTMB4XDTE4MDUyMTEwNDUxMFoXDTQ5MTIzMTIzNTk1OVowaDEaMBgG
A1UEAwwRSW50ZWwgU0dYIFJvb3QgQ0ExGjAYBgNVBAoMEUludGVsIENvcnBvcmF0
aW9uMRQwEgYDVQQHDAtTYW50YSBDbGFyYTELMAkGA1UECAwCQ0ExCzAJBgNVBAYT
AlVTMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi7
1OiOSLRFhWGjbnBVJfVnkY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlKOB
uzCBuDAfBgNVHSMEGDAWgBQiZQzWWp00ifODtJVSv1AbOScGrDBSBgNVHR8ESzBJ
MEegRaBDhkFodHRwczovL2NlcnRpZmljYXRlcy50cnVzdGVkc2VydmljZXMuaW50
ZWwuY29tL0ludGVsU0dYUm9vdENBLmRlcjAdBgNVHQ4EFgQUImUM1lqdNInzg7SV
Ur9QGzknBqwwDgYDVR0PAQH/BAQDAgEGMBIGA1UdEwEB/wQIMAYBAf8CAQEwCgYI
KoZIzj0EAwIDSQAwRgIhAOW/5QkR+S9CiSDcNoowLuPRLsWGf/Yi7GSX94BgwTwg
AiEA4J0lrHoMs+Xo5o/sX6O9QWxHRAvZUGOdRQ7cvqRXaqI=
-----END CERTIFICATE-----
""",
)[0].der
"""Intel SGX Root CA, serial 22650CD65A9D3489F383B49552BF501B392706AC: DER, as it stands in every real quote.

A literal, so that this room reads no file.
"""


@dataclass(frozen=True, slots=True)
class VendorRoot:
    """The root of a maker of real hardware."""

    name: str
    sha256: bytes
    """Of the certificate in DER."""


@dataclass(frozen=True, slots=True)
class SimulatedRoot:
    """The root of a simulated maker: whoever names it takes software for hardware."""

    sha256: bytes
    """Of the certificate in DER."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"simulated root {self.sha256.hex()}"

    @classmethod
    def of(cls, certificate: bytes) -> "SimulatedRoot":
        """The root with this certificate (DER)."""
        return cls(hashlib.sha256(certificate).digest())


INTEL_SGX_ROOT: Final = VendorRoot("INTEL_SGX_ROOT", hashlib.sha256(INTEL_SGX_ROOT_CA).digest())

AMD_MILAN_ROOT: Final = VendorRoot(
    "AMD_MILAN_ROOT", bytes.fromhex("69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd")
)
"""ARK-Milan, serial 65536."""
AMD_GENOA_ROOT: Final = VendorRoot(
    "AMD_GENOA_ROOT", bytes.fromhex("4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1")
)
"""ARK-Genoa."""
AMD_TURIN_ROOT: Final = VendorRoot(
    "AMD_TURIN_ROOT", bytes.fromhex("1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a")
)
"""ARK-Turin."""
