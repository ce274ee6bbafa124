"""Peers over sockets: frames in, frames out, one place to wait."""
