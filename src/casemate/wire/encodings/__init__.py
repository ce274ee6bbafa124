"""Encodings: DER, PEM, CBOR, JSON, TOML text, HTTP/1.1 framing, tagged binary messages. They know no format of ours."""
