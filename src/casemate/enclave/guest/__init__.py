"""The guest as the enclave sees it: its pipes, its questions, and what it prints."""
