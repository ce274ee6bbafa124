"""Bodies to begin with, one for each operation that takes JSON, for the page of `/docs`.

Not in `/openapi.json`: programs that test an API by it take an example for a body that is good at once.
"""

from collections.abc import Mapping
from typing import Any

_NONCE = "00112233445566778899aabbccddeeff" * 2

EXAMPLES: Mapping[str, Any] = {
    "compute": {"function": "primes", "input": {"up_to": 20}},
    "ecall": {"entry": "fibonacci", "arguments": {"n": 90}},
    "ocall": {"question": "echo", "message": "hello"},
    "seal": {"data": {"kept": "until tomorrow"}, "policy": "mrenclave"},
    "unseal": {"sealed": "AAAA"},
    "attest": {"nonce": _NONCE},
    "launch_enclave": {"image": "9f" * 32, "name": "mine"},
    "learn_launch_vm": {"guest": "report", "mode": "sev-snp"},
    "learn_encrypt_vm": {"data": "Attack at dawn. ", "gpa": "0x300000"},
    "learn_attest_vm": {"nonce": _NONCE},
    "run_vm": {"time_ms": 200},
    "attest_vm": {"report_data": _NONCE * 2},
    "map_vm_page": {"gpa": "0x300000", "spa": "0x301000"},
    "assign_vm_page": {"spa": "0x300000", "gpa": "0x300000"},
}
"""By the operations' ids."""
