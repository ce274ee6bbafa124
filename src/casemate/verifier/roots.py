"""The trust anchors that a policy can name."""

import hashlib
from dataclasses import dataclass
from typing import Final

from casemate.wire.encodings.pem import parse_chain

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
    """SHA-256 of the root's certificate in DER: only these bytes are accepted."""


@dataclass(frozen=True, slots=True)
class VendorKey:
    """The root of a maker of real hardware by name and key, in whatever certificate (RFC 5280, 6.1.1 (d)).

    The certificate in a chain that plays the root is still held to all other rules of chains: it is signed by its own
    key, a CA with room for those below it, valid now, and not marked SIMULATED. RFC 5280 (6.2) leaves that open.
    """

    name: str
    """The common name in the certificate."""
    key_sha256: bytes
    """SHA-256 of SubjectPublicKeyInfo in DER."""


@dataclass(frozen=True, slots=True)
class SimulatedRoot:
    """The root of a simulated maker: a policy that names it accepts software in place of hardware."""

    sha256: bytes
    """SHA-256 of the root's certificate in DER."""

    @property
    def name(self) -> str:
        """The root's name in messages."""
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

Anchor = VendorRoot | VendorKey | SimulatedRoot
"""A trust anchor: the value of a policy's ``root``."""

INTEL_SGX_ROOT_KEY: Final = VendorKey(
    "Intel SGX Root CA", bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
)
"""Hashes of the current certificate (valid until 2049) and of that in quotes of 2018 to 2021 (until 2033)."""
AMD_MILAN_ROOT_KEY: Final = VendorKey(
    "ARK-Milan", bytes.fromhex("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9")
)
AMD_GENOA_ROOT_KEY: Final = VendorKey(
    "ARK-Genoa", bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831")
)
AMD_TURIN_ROOT_KEY: Final = VendorKey(
    "ARK-Turin", bytes.fromhex("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08")
)

_AMD = {
    AMD_MILAN_ROOT: AMD_MILAN_ROOT_KEY,
    AMD_GENOA_ROOT: AMD_GENOA_ROOT_KEY,
    AMD_TURIN_ROOT: AMD_TURIN_ROOT_KEY,
}
_KEYS = {INTEL_SGX_ROOT: INTEL_SGX_ROOT_KEY} | _AMD
"""The names and keys of the certificates that are built in."""


def is_anchor(wanted: Anchor, *, name: str, sha256: bytes, key_sha256: bytes) -> bool:
    """Whether the certificate with this common name, digest and key is the root that a policy names."""
    if isinstance(wanted, VendorKey):
        return (name, key_sha256) == (wanted.name, wanted.key_sha256)
    return sha256 == wanted.sha256


def advice_on_root(wanted: Anchor, *, name: str, key_sha256: bytes) -> str:
    """Advice for an error about a chain whose root, with this common name and key, is not the policy's."""
    if isinstance(wanted, SimulatedRoot):
        return "the evidence is of another simulated machine than the policy names, or of another of its processors"
    key = wanted if isinstance(wanted, VendorKey) else _KEYS.get(wanted)
    if key is None:
        return (
            "the evidence is of another maker or product than the policy names; if it is that maker's root in another "
            "certificate, name it by its name and key, which `casemate inspect` shows: root = { name, key_sha256 }"
        )
    found = VendorKey(name, key_sha256)
    if found == key:
        return (
            "that maker's root, in another certificate: a policy takes both by "
            f'root = {{ name = "{name}", key_sha256 = "{key_sha256.hex()}" }}'
        )
    product = next((root for root, its in _AMD.items() if its == found), None)
    if product is not None and key in _AMD.values():
        return f'the evidence is of another product of that maker; a policy for it has root = "{product.name}"'
    return "the evidence is of another maker than the policy names"
