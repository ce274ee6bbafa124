"""Confinement by the operating system, one layer a file; applied in a fresh child before anything hostile runs in it.

Example:
    program = open_program("/usr/lib/casemate/deno")            # once, in the parent
    prepared = prepare_guest(program, prepare_root(program))
    layers = confine(prepared, requests)                        # in each child, before exec
"""
