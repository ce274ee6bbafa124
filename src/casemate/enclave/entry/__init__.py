"""Everything that enters the enclave from the host: challenges, sealed and plain calls, streams; and their receipts."""
