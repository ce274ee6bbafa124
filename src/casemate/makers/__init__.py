"""The simulated makers, Intel and AMD: root keys, certificates, TCB recovery, revocation.

Runs on demand, as a process of its own:

    python -I -m casemate.makers --state DIR COMMAND [--now 2026-01-31T12:00:00Z]

Every command answers with one JSON object on standard output and exit status 0, or refuses with one line on standard
error and exit status 1. What it keeps lies in ``DIR/vendor``: keys of mode 0600, certificates, and ``ledger.json``.

``init [--seed TEXT]``
    Makes keys and certificates where there are none. Answer: ``root_certificate`` (PEM), ``root_sha256``, ``seeded``.
    With a seed, everything is the same every time, and every certificate says so.
``issue-pck``
    Reads ``{"public_key", "ppid", "cpu_svn", "pce_svn", "pce_id", "fmspc"}`` from standard input (hexadecimal and
    integers; the key is an uncompressed point), optionally ``"seeded"`` and ``"pck_ca"`` (processor, platform).
    Answer: ``chain`` (PEM: leaf, CA, root), ``serial``. A chip's first request enters it into the ledger; a second key
    for the same chip and TCB is refused, and so is a TCB that has not been published.
``collateral [--ca processor|platform]``
    Answer: QuoteCollateralV3, valid for thirty days.
``newest-tcb``
    Answer: ``cpu_svn``, ``pce_svn``: what a microcode update brings a chip to.
``recover-tcb --advisory ID``, ``recover-qe --advisory ID``
    Publishes a new level of the platform or of the quoting enclave; those below it become out of date.
    Answer: what ``newest-tcb`` says (or ``isv_svn``), and ``tcb_evaluation_data_number``.
``revoke --ppid HEX | --serial HEX | --ca processor|platform``
    Puts certificates on their issuer's revocation list. Answer: ``revoked`` (serial numbers).

Of AMD, for SEV-SNP; nothing is made before it is asked for, since an RSA-4096 key takes a second, from a seed several.
``PRODUCT`` is Milan, Genoa or Turin. What is kept lies in ``DIR/vendor/amd/PRODUCT``.

``amd-root --product PRODUCT``
    Answer: what ``init`` says, of that product's root (ARK).
``issue-vcek``
    Reads ``{"product", "public_key", "hw_id", "tcb"}`` from standard input, optionally ``"seeded"``. Answer: ``chain``
    (PEM: VCEK, ASK, ARK), ``serial``. As with ``issue-pck``, a chip has one key at a TCB, and TCBs have been published.
``issue-vlek``
    Reads ``{"product", "csp_id", "tcb", "wrapping_key"}``. Answer: ``chain`` (PEM: VLEK, ASVK, ARK), ``wrapped_key``
    (the VLEK, sealed by HPKE to that X25519 key), ``serial``.
``amd-crl --product PRODUCT``
    Answer: ``crl`` (DER in hexadecimal), the root's, valid for thirty days.
``newest-firmware``
    Answer: for each product ``tcb``, ``major``, ``minor``, ``build``.
``recover-firmware --product PRODUCT --advisory ID``
    Publishes firmware of a higher TCB. Answer: as above, of that product.
``revoke-amd --product PRODUCT --hw-id HEX | --csp-id NAME | --serial HEX | --issuer ask|asvk``
    Puts certificates on the root's revocation list. Answer: ``revoked`` (serial numbers).
"""
