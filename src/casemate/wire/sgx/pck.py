"""Intel's extension in PCK certificates: the platform, and the security version, that a certificate is for.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification 1.5, section 1.3.5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self, TypeVar

from casemate.wire.encodings.der import (
    ENUMERATED,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    DerReader,
    boolean,
    element,
    oid,
    uint,
)
from casemate.wire.encodings.fields import MAX_U8, MAX_U16
from casemate.wire.errors import WireError

SGX_EXTENSION_OID = "1.2.840.113741.1.13.1"

COMPONENTS = 16
"""SVN components of a TCB, one byte each."""

_PPID_SIZE = 16
_CPU_SVN_SIZE = 16
_PCE_ID_SIZE = 2
_FMSPC_SIZE = 6
_INSTANCE_ID_SIZE = 16

T = TypeVar("T")


class SgxType(IntEnum):
    """How the platform protects its memory."""

    STANDARD = 0
    SCALABLE = 1
    SCALABLE_WITH_INTEGRITY = 2


@dataclass(frozen=True, slots=True)
class PckTcb:
    """The security version that the certificate's key was derived for."""

    components: bytes
    """16 SVNs, one byte each: what TCB levels are compared with."""
    pce_svn: int
    cpu_svn: bytes
    """The raw CPUSVN, 16 bytes, opaque."""


@dataclass(frozen=True, slots=True)
class PckConfiguration:
    """How a platform of the Platform CA is set up."""

    dynamic_platform: bool
    """Packages may be added after the keys were provisioned."""
    cached_keys: bool
    """Platform root keys are kept by Intel's registration service."""
    smt_enabled: bool
    """Sibling hyperthreads are on."""


@dataclass(frozen=True, slots=True)
class PckPlatform:
    """What only certificates of the Platform CA say."""

    instance_id: bytes
    configuration: PckConfiguration


@dataclass(frozen=True, slots=True)
class PckExtension:
    """The extension's value. Elements in another order than Intel writes them are refused."""

    ppid: bytes
    tcb: PckTcb
    pce_id: bytes
    fmspc: bytes
    """Family, model, stepping, platform, custom SKU: which TCB info applies."""
    sgx_type: SgxType
    platform: PckPlatform | None
    """None in certificates of the Processor CA."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The value from its DER."""
        outer = DerReader("PCK extension", data)
        inner = outer.inside("value")
        outer.end()
        ppid = _take(inner, "ppid", "1", _octets(_PPID_SIZE))
        tcb = _take(inner, "tcb", "2", _parse_tcb)
        pce_id = _take(inner, "pce_id", "3", _octets(_PCE_ID_SIZE))
        fmspc = _take(inner, "fmspc", "4", _octets(_FMSPC_SIZE))
        number = _take(inner, "sgx_type", "5", _uint(MAX_U8, ENUMERATED))
        platform = _parse_platform(inner) if inner.remaining else None
        inner.end()
        try:
            return cls(ppid, tcb, pce_id, fmspc, SgxType(number), platform)
        except ValueError:
            raise WireError("PCK extension.sgx_type", got=number, want="0, 1 or 2") from None

    def encode(self) -> bytes:
        """The value in DER."""
        tcb = element(
            SEQUENCE,
            *(_member(f"2.{number}", uint(svn)) for number, svn in enumerate(self.tcb.components, 1)),
            _member("2.17", uint(self.tcb.pce_svn)),
            _member("2.18", element(OCTET_STRING, self.tcb.cpu_svn)),
        )
        return element(
            SEQUENCE,
            _member("1", element(OCTET_STRING, self.ppid)),
            _member("2", tcb),
            _member("3", element(OCTET_STRING, self.pce_id)),
            _member("4", element(OCTET_STRING, self.fmspc)),
            _member("5", uint(self.sgx_type, tag=ENUMERATED)),
            _encode_platform(self.platform) if self.platform is not None else b"",
        )


def _take(reader: DerReader, field: str, suffix: str, read: Callable[[DerReader], T]) -> T:
    """The value in the next SEQUENCE { OBJECT IDENTIFIER, value }, which must have the OID with this suffix."""
    member = reader.inside(field)
    member.oid("oid", f"{SGX_EXTENSION_OID}.{suffix}")
    value = read(member)
    member.end()
    return value


def _octets(size: int) -> Callable[[DerReader], bytes]:
    return lambda member: member.octets("value", size)


def _uint(maximum: int, tag: int = INTEGER) -> Callable[[DerReader], int]:
    return lambda member: member.uint("value", maximum, tag=tag)


def _boolean(member: DerReader) -> bool:
    return member.boolean("value")


def _member(suffix: str, value: bytes) -> bytes:
    return element(SEQUENCE, oid(f"{SGX_EXTENSION_OID}.{suffix}"), value)


def _parse_tcb(member: DerReader) -> PckTcb:
    reader = member.inside("value")
    components = bytes(
        _take(reader, f"comp{number:02}_svn", f"2.{number}", _uint(MAX_U8)) for number in range(1, COMPONENTS + 1)
    )
    pce_svn = _take(reader, "pce_svn", "2.17", _uint(MAX_U16))
    cpu_svn = _take(reader, "cpu_svn", "2.18", _octets(_CPU_SVN_SIZE))
    reader.end()
    return PckTcb(components, pce_svn, cpu_svn)


def _parse_platform(reader: DerReader) -> PckPlatform:
    instance_id = _take(reader, "platform_instance_id", "6", _octets(_INSTANCE_ID_SIZE))
    return PckPlatform(instance_id, _take(reader, "configuration", "7", _parse_configuration))


def _parse_configuration(member: DerReader) -> PckConfiguration:
    reader = member.inside("value")
    configuration = PckConfiguration(
        dynamic_platform=_take(reader, "dynamic_platform", "7.1", _boolean),
        cached_keys=_take(reader, "cached_keys", "7.2", _boolean),
        smt_enabled=_take(reader, "smt_enabled", "7.3", _boolean),
    )
    reader.end()
    return configuration


def _encode_platform(platform: PckPlatform) -> bytes:
    configuration = platform.configuration
    return _member("6", element(OCTET_STRING, platform.instance_id)) + _member(
        "7",
        element(
            SEQUENCE,
            _member("7.1", boolean(value=configuration.dynamic_platform)),
            _member("7.2", boolean(value=configuration.cached_keys)),
            _member("7.3", boolean(value=configuration.smt_enabled)),
        ),
    )
