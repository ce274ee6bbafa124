"""JSON Schemas for what enters and leaves an enclave: their cost, their patterns, checks and filters."""
