"""Confidential VMs on the command line: what `casemate vm` asks, and how it shows the answers."""
