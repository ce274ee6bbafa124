"""The trusted runtime in an enclave's own sandboxed process: what its measurement vouches for, the guest apart."""
