"""The simulated AMD: for each product root (ARK), issuers (ASK, ASVK), keys' certificates, revocation list, firmware.

Each key is made when it is first asked for, for one product alone: an RSA-4096 key takes seconds.
"""
