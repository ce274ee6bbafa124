"""JSON Schemas at an enclave's borders, what they may cost, and their patterns."""
