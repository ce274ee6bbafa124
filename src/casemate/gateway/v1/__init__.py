"""The REST API below /v1: enclaves, images, calls, events, the machine."""
