"""The chip's process, and the one question that others may ask of this room's code.

``python -I -m casemate.chip --state DIR --host-fd N --supervisor-fd M [--seed TEXT] [--layer NAME=MODE]... [--pool N]
[--snp-product NAME] [--snp-report N] [--accept-loss REASON]``

Started by the supervisor, which hands it two descriptors, each an end of a stream socket pair:

* ``--host-fd``: numbered calls (:mod:`casemate.link.calls`) of the messages in :mod:`casemate.wire.messages.chip` and
  :mod:`casemate.wire.messages.snp_firmware`; the chip answers. News (number 0) are ``StateIs`` and ``VmProcessIs``: an
  enclave or a confidential VM was lost.
* ``--supervisor-fd``: plain frames of the messages in :mod:`casemate.wire.messages.supervisor`, which says in what
  order. The chip ends when this link closes.

``--state`` is the machine's state directory; the chip owns ``DIR/chip`` (mode 0700). ``--seed`` makes the fuses of a
new chip from a public text. ``--layer`` asks for or turns off a layer of the enclaves' sandbox (``seccomp=require``);
``--pool`` is the number of warm guests to keep. ``--snp-product`` and ``--snp-report`` say which SEV-SNP processor a
new chip is, and which version of reports it writes; one that there is has to be so. ``--accept-loss`` has a chip begin
anew with what is missing or damaged in its folder, and log the reason. SIGTERM ends the chip and all its
enclaves. Exit status: 0 after SIGTERM or when the supervisor's link closed, 1 if it could not start (the reason goes to
the supervisor as a ``Fault``, and to standard error), 2 for a wrong command line.

``python -I -m casemate.chip runtime-digest``

Finds or makes this interpreter's runtime copy and prints ``{"platform": TAG, "runtime": {PART: HEX}, "copy": DIR,
"core_groups": {GROUP: HEX}, "common": {NAME: HEX}}``: what `casemate build` writes into an image's runtime lock, where
the copy lies, what the core's digest is over, and the core's digest with each common interpreter.
"""

import sys


def main() -> int:
    """Runs the chip, or answers the question; the exit status."""
    if sys.argv[1:] == ["runtime-digest"]:
        from casemate.chip.digest_command import print_runtime_digest

        return print_runtime_digest()
    from casemate.chip.first_stage import run_chip

    return run_chip(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
