"""Configurations of services, signed by their deployment's owner."""

from casemate.client.caller_keys import CallerKey
from casemate.wire.encodings.json_text import Json, encode_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.configuration import (
    MAX_CONFIGURATION,
    MAX_VERSION,
    SignedConfiguration,
    signed_configuration,
)
from casemate.wire.protocol.deployment import deployment_id


def sign_configuration(name: str, configuration: Json, owner: CallerKey, version: int) -> SignedConfiguration:
    """A configuration, and its owner's signature.

    Args:
        name: the deployment's.
        configuration: any JSON; the enclave checks it against its schema.
        owner: the key whose deployment it is.
        version: 0 to ``MAX_VERSION``; the enclave takes none that is not above the newest.

    Raises:
        WireError: it is too long, or the version is out of range.
    """
    text = encode_json(configuration)
    if len(text) > MAX_CONFIGURATION:
        raise WireError("configuration", got=f"{len(text)} bytes of JSON", want=f"at most {MAX_CONFIGURATION}")
    if not 0 <= version <= MAX_VERSION:
        raise WireError("configuration's version", got=str(version), want=f"0 to {MAX_VERSION}")
    signing = signed_configuration(deployment_id(owner.public_key, name), version, text)
    return SignedConfiguration(owner.public_key, name, version, text, owner.sign(signing))
