"""What a host reads in an image about its OCALLs, and that no image can keep it from going on."""

import json
import random

from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, Workshop

from casemate.host.ocall_terms import NO_TERMS, ocall_terms
from casemate.wire.sgx.sgxs import RECORD_SIZE


def test_time_limit_and_schemas_are_the_manifests(workshop: Workshop) -> None:
    number = {"type": "number"}
    image = workshop.image(
        "export function main() {}",
        ocalls={
            "rates": {"input": ANYTHING_OUT, "output": number},
            "time": {"input": ANYTHING_OUT, "output": ANYTHING},
        },
        time_ms=1234,
    )
    terms = ocall_terms(image.sgxs)
    assert terms.time_ms == 1234
    assert {name: json.loads(schema) for name, schema in terms.schemas.items()} == {"rates": number, "time": ANYTHING}


def test_an_image_that_cannot_be_read_has_no_terms(workshop: Workshop) -> None:
    image = workshop.image("export function main() {}", ocalls={"rates": {"input": ANYTHING_OUT, "output": ANYTHING}})
    assert ocall_terms(b"") == NO_TERMS
    assert ocall_terms(image.sgxs[: RECORD_SIZE + 100]) == NO_TERMS
    chance = random.Random(1)
    for _ in range(300):
        stream = bytearray(image.sgxs)
        for _ in range(8):
            stream[chance.randrange(len(stream))] = chance.randrange(256)
        ocall_terms(bytes(stream))  # terms of some kind, and no error
