"""What a file is, byte by byte: `casemate inspect`. It reads, and says nothing about truth."""
