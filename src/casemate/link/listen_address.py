"""The address that a server is told to listen at: one rule for those who type it and those who use it."""

import contextlib
import ipaddress


def address_problem(address: str) -> str:
    """What is wrong with an address that should be one of IP, and what to type instead; empty if nothing is."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(address)
        return ""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return f"{address!r} is an address and a port: give them as --bind {host.strip('[]')} --port {port}"
    return f"{address!r} is no address, want one such as 127.0.0.1 or ::1 with --bind"
