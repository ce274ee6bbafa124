"""SEV-SNP in this chip: the platform and its keys, and the firmware's commands (AMD 56860)."""
