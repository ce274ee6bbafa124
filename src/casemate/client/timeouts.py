"""How long a client waits (seconds), where its user does not say."""

ASK_TIMEOUT = 30.0
"""For evidence and for the levers of an enclave's life: a quote takes milliseconds."""

LAUNCH_TIMEOUT = 120.0
"""For a launch: the largest image is measured page by page."""

CALL_TIMEOUT = 90.0
"""For a call: above the longest time limit that a manifest may name, with some waiting for others' calls."""
