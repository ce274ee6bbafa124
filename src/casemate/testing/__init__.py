"""Aids for tests of Casemate and of software built on it, such as evidence with any field forged and signed again."""
