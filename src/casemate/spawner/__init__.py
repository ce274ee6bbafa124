"""The spawner: forks enclaves, starts and confines guests, watches over both. It holds no keys."""
