"""What an enclave asks of its chip."""
