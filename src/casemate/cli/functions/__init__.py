"""Functions while they are written: their tests, and copies of them that run as debug enclaves."""
