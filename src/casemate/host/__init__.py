"""The untrusted side of a machine: it carries sealed bytes between clients, enclaves and chip. It may delay or kill."""
