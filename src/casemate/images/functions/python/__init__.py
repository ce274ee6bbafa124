"""Python: sources are compiled and never run; imports, names and entry points are compared with what will be there."""
