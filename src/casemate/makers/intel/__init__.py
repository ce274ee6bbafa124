"""The simulated Intel: root, CAs, PCK certificates, TCB levels, collateral and revocation lists."""
