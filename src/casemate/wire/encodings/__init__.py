"""Encodings that know nothing of Casemate: DER, PEM, CBOR, JSON, TOML, HTTP/1.1 framing, binary messages."""
