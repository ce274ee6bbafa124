"""Evidence on the command line: its files, what it says, and the verdict on it."""
