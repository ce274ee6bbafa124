"""Confinement by the operating system, one layer a file; applied in a fresh child before anything hostile runs in it.

Example:
    prepared = prepare_guest("/usr/lib/casemate/deno")      # once, in the parent
    layers = confine(prepared, requests)                    # in each child, before exec
"""
