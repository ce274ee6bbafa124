"""SEV-SNP evidence on the command line: policies, reports, launch digests."""
