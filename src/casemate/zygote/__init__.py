"""The processes that Python guests are forked from, and the guests themselves: all live apart from the spawner.

| process | forked from | has seen | is trusted |
| --- | --- | --- | --- |
| base (:mod:`~casemate.zygote.base`) | nobody: executed by the spawner | the standard library | to fork and confine |
| image process (:mod:`~casemate.zygote.image`) | the base | one program | until it has read that; then not at all |
| guest (:mod:`~casemate.zygote.guest`) | an image process | one program, its callers' data | not at all |

The spawner is the parent of all of them: it alone reaps and ends them. It trusts the kernel about who they are, and
the base, which never sees a byte of an image or of a caller.

Example:
    python -I -S -B -m casemate.zygote    # with the spawner's socket on descriptor 3
"""
