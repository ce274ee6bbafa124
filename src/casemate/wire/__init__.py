"""Formats and measurement arithmetic: bytes to frozen values and back. No I/O, no clock, no randomness, no keys."""
