"""Starts a machine's processes in their order and ends them together. It holds no secret."""
