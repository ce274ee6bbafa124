"""Host to an enclave that is a service, and back: its hooks, its health and its configuration.

:class:`ConfigureService` and :class:`GetHealth` are a client's requests to the host, which passes them on.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U64, Limit, message
from casemate.wire.messages.request import Request
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.configuration import SignedConfiguration

MAX_REASON = 256
"""Longest reason of a service's health (characters)."""
_MAX_REASON_SIZE = 4 * MAX_REASON


class Health(StrEnum):
    """How a service is, in its own word, or the enclave's."""

    READY = "ready"
    DEGRADED = "degraded"
    BROKEN = "broken"  # also where a hook fails, or says what is no health
    UNCONFIGURED = "unconfigured"  # its owner has yet to configure it


@message(0xFF10)
@dataclass(frozen=True, slots=True)
class RunHook:
    """Has a hook run: ``start``, ``health`` or ``shutdown``. Reply: ``HealthIs``, or a ``Fault``.

    ``start`` runs once, whoever asks. A service without the hook is what else is known of it.
    """

    hook: Hook


@message(0xFF11)
@dataclass(frozen=True, slots=True)
class HealthIs:
    """How the service is."""

    state: Health
    reason: Annotated[str, Limit(_MAX_REASON_SIZE)]
    """In words; empty for none."""


@message(0xFF12)
@dataclass(frozen=True, slots=True)
class Configure:
    """Gives the service a configuration. Reply: ``Configured``, or a ``Fault``."""

    configuration: SignedConfiguration


@message(0xFF13)
@dataclass(frozen=True, slots=True)
class Configured:
    """The service has this version of its configuration now, durably."""

    version: U64


@message(0xFF14)
@dataclass(frozen=True, slots=True)
class ConfigureService(Request[Configured]):
    """Give an enclave, which is a service, a configuration."""

    enclave: U64
    configuration: SignedConfiguration


@message(0xFF15)
@dataclass(frozen=True, slots=True)
class GetHealth(Request[HealthIs]):
    """How an enclave is, which is a service. An enclave that is none is ready while it runs."""

    enclave: U64
