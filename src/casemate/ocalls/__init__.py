"""The operator's own answers to OCALLs, in a process of their own.

A module of handlers, for ``casemate up --ocalls handlers.py``, is the operator's code, and has the operator's rights:

    from casemate.ocalls import Asked

    def rates(argument, asked: Asked):
        if asked.mr_enclave.hex() not in CUSTOMERS:
            raise PermissionError("not a customer's enclave")
        return {"usd": 1.08}

A function answers the OCALL of its name. Its argument is a JSON value, and so is what it returns. Handlers are the
functions that the module itself defines and whose names do not begin with ``_``, or those that its ``__all__`` names.
What one raises refuses the OCALL, and nobody but the operator learns why.
"""

from casemate.ocalls.asked import Asked

__all__ = ["Asked"]
