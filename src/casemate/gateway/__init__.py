"""The host behind HTTP: as untrusted as the host, whose process it shares. It forwards sealed bytes."""
