"""Python: see :mod:`casemate.engines.python.engine`."""
