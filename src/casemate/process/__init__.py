"""Services of the operating system: durable files, places, logs, memory, ownership, hardening."""
