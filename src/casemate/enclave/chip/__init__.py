"""The enclave's link to its chip, and the sealing keys that the chip derives."""
