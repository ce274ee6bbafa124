"""For tests of Casemate and of what is built on it: evidence that is forged, one field at a time, and signed again."""
