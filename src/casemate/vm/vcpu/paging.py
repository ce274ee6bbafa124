"""The registers that decide how a linear address is translated."""

from dataclasses import dataclass

CR0_PE, CR0_WP, CR0_PG = 1 << 0, 1 << 16, 1 << 31
CR4_PAE, CR4_SMEP = 1 << 5, 1 << 20
EFER_LME, EFER_LMA, EFER_NXE, EFER_SVME = 1 << 8, 1 << 10, 1 << 11, 1 << 12


@dataclass(frozen=True, slots=True)
class Paging:
    """Control registers, EFER and CPL at one moment."""

    cr0: int
    cr3: int
    cr4: int
    efer: int
    cpl: int
