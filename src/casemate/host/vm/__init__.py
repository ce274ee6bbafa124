"""The hypervisor: launches confidential VMs and serves their exits. No VM trusts it."""
