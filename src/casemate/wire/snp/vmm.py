"""The hypervisors whose launches are known: each gives its vCPUs other registers at reset."""

from enum import StrEnum


class Vmm(StrEnum):
    """Who launches the guest."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"
