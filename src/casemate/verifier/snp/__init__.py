"""Appraisal of SEV-SNP attestation reports: evidence, endorsements, policy, and the sequence of checks."""
