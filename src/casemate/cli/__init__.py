"""The command `casemate`: it translates words on a command line into one call each, and decides nothing about trust."""
