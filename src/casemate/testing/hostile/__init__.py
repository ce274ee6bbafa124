"""Attacks on confidential VMs, for lessons and tests: each does what an attacker does, and reports the result.

`python -m casemate.testing.hostile` carries them all out and shows the table; docs/vm-attacks.md explains it.

Example:
    >>> from casemate.testing.hostile.lone import LoneTarget
    >>> from casemate.testing.hostile.memory import replay
    >>> from casemate.wire.messages.vm.host import AttackPath
    >>> from casemate.wire.snp.mode import VmMode
    >>> with LoneTarget(VmMode.SEV_SNP) as target:
    ...     replay(target, AttackPath.HYPERVISOR).cell
    ...
    'refusal (rmp-fault)'
"""
