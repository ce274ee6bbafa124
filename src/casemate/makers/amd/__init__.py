"""The simulated AMD: for each product root (ARK), issuers (ASK, ASVK), keys' certificates, revocation list, firmware.

Nothing of it is made before it is asked for, and of the product that is asked for alone: RSA-4096 keys take seconds.
"""
