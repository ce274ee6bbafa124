"""The guest from the enclave's side: its pipes, its requests, and what it prints."""
