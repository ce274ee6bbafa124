"""`casemate inspect`: shows the contents of a file byte by byte, without verifying it."""
