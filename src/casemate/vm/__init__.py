"""A confidential VM: memory controller, reverse map table and vCPUs, in a process that has this VM's key alone."""
