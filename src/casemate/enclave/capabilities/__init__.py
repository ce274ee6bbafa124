"""What a guest may ask for beyond computing: a module for each capability that a manifest can grant.

:mod:`casemate.enclave.capabilities.registry` says who answers what. Code that most enclaves do without is loaded as
:mod:`casemate.enclave.parts` says.
"""
