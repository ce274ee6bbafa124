"""A vCPU: Unicorn executes, and everything that SEV adds to the processor is done here."""
