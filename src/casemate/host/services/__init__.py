"""Services that are installed on a host."""
