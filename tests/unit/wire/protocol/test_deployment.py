import hashlib

import pytest

from casemate.wire.protocol.deployment import deployment_id


def test_the_identity_is_the_hash_that_the_protocol_says() -> None:
    wanted = hashlib.sha256(b"casemate deployment 1\0" + b"\1" * 32 + b"shop").digest()
    assert deployment_id(b"\1" * 32, "shop") == wanted


def test_an_owners_key_has_its_size() -> None:
    with pytest.raises(ValueError, match="32 bytes, got 31"):
        deployment_id(b"\1" * 31, "shop")
