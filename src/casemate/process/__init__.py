"""What every process does with the operating system: durable files, places, logs, memory, ownership, hardening."""
