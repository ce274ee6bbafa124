"""One file for each command or family of commands: it translates options, calls one function, shows the result.

What is not needed to print `--help` is imported inside the functions.
"""
