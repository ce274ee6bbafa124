"""What runs inside a Python guest: it loads the program and serves its calls.

The program can reach and change all of this, for Python has no wall inside a process. So nothing here protects the
enclave, which checks each frame by itself. It serves honest programs: mistakes become exceptions that they can catch
and words that their authors understand, and what one call leaves behind does not speak in the next.

Three kinds of process run it, one forked from the other:

1. :func:`prepare` in the process that all Python guests come from, before it is confined;
2. :func:`load` in an image's process, which loads the program;
3. :func:`serve` in a copy of that, which answers calls.
"""

from casemate.engines.python.bootstrap.loading import load
from casemate.engines.python.bootstrap.program import Program
from casemate.engines.python.bootstrap.serving import serve
from casemate.engines.python.bootstrap.standard import prepare

__all__ = ["Program", "load", "prepare", "serve"]
