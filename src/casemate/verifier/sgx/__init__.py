"""Appraisal of SGX quotes (version 3): evidence, endorsements, policy, and the sequence of checks."""
