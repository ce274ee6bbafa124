"""The REST API for confidential VMs, below /v1/vms."""
