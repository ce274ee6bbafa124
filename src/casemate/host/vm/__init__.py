"""The hypervisor: launches confidential VMs, serves their exits, and is trusted by none of them."""
