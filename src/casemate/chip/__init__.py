"""The simulated silicon: the only holder of fused secrets, and the starter of enclave processes.

Started by the supervisor as ``python -I -m casemate.chip`` and never imported by what ships; see ``__main__`` for its
command line and descriptors.
"""
