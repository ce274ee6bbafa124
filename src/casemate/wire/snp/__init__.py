"""Formats and measurement arithmetic of AMD SEV, SEV-ES and SEV-SNP.

56860 is AMD's "SEV Secure Nested Paging Firmware ABI Specification"; the APM is its "Architecture Programmer's Manual".
"""
