"""Links to peers that may be hostile: frames in and out without waiting, and the pump, the one place to wait."""
