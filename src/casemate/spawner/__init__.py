"""The process that forks enclaves, starts and confines guests, and watches over both. It holds no keys."""
