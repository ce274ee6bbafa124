"""Messages about confidential VMs: client to host, hypervisor to VM, chip to VM."""
