"""Casemate: confidential computing that runs anywhere Python runs."""
