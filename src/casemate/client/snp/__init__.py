"""The levers of a machine's SEV-SNP processor."""
