"""Framed sockets between rooms: frames with descriptors, peer credentials, time-outs, numbered calls."""
