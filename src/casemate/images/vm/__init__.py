"""Small x86-64 guests for confidential VMs: assembly sources, and the firmware images in OVMF's shape made of them.

Example:
    >>> from casemate.images.vm.builtin import firmware
    >>> image = firmware("hello")
    >>> len(image) % 4096
    0
"""
