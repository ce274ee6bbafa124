"""vCPUs: Unicorn executes instructions; this code does everything that SEV adds to the processor."""
