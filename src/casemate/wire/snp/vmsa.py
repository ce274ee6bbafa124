"""The VMSA: a vCPU's registers in one page, measured at launch (APM volume 2, appendix B, table B-4)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, nested, number, raw, zeros
from casemate.wire.snp.vmm import Vmm

_SOURCE = "AMD APM vol. 2, appendix B, table B-4 (VMSA layout)"

BSP_EIP = 0xFFFF_FFF0
"""The first vCPU's start: the reset vector, 16 bytes below 4 GiB."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment register, 16 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "VMCB_SEG",
        _SOURCE,
        (number(0, 2, "selector"), number(2, 2, "attrib"), number(4, 4, "limit"), number(8, 8, "base")),
    )

    selector: int
    attrib: int
    """The descriptor's attributes, its bits 55:52 and 47:40 put together."""
    limit: int
    base: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class Vmsa:
    """A virtual machine save area, 4096 bytes. Fields are named as in the APM."""

    LAYOUT: ClassVar[Layout] = Layout(
        "VMSA",
        _SOURCE,
        (
            nested(0x000, "es", Segment),
            nested(0x010, "cs", Segment),
            nested(0x020, "ss", Segment),
            nested(0x030, "ds", Segment),
            nested(0x040, "fs", Segment),
            nested(0x050, "gs", Segment),
            nested(0x060, "gdtr", Segment),
            nested(0x070, "ldtr", Segment),
            nested(0x080, "idtr", Segment),
            nested(0x090, "tr", Segment),
            number(0x0A0, 8, "vmpl0_ssp"),
            number(0x0A8, 8, "vmpl1_ssp"),
            number(0x0B0, 8, "vmpl2_ssp"),
            number(0x0B8, 8, "vmpl3_ssp"),
            number(0x0C0, 8, "u_cet"),
            zeros(0x0C8, 2),
            number(0x0CA, 1, "vmpl"),
            number(0x0CB, 1, "cpl"),
            zeros(0x0CC, 4),
            number(0x0D0, 8, "efer"),
            zeros(0x0D8, 104),
            number(0x140, 8, "xss"),
            number(0x148, 8, "cr4"),
            number(0x150, 8, "cr3"),
            number(0x158, 8, "cr0"),
            number(0x160, 8, "dr7"),
            number(0x168, 8, "dr6"),
            number(0x170, 8, "rflags"),
            number(0x178, 8, "rip"),
            number(0x180, 8, "dr0"),
            number(0x188, 8, "dr1"),
            number(0x190, 8, "dr2"),
            number(0x198, 8, "dr3"),
            number(0x1A0, 8, "dr0_addr_mask"),
            number(0x1A8, 8, "dr1_addr_mask"),
            number(0x1B0, 8, "dr2_addr_mask"),
            number(0x1B8, 8, "dr3_addr_mask"),
            zeros(0x1C0, 24),
            number(0x1D8, 8, "rsp"),
            number(0x1E0, 8, "s_cet"),
            number(0x1E8, 8, "ssp"),
            number(0x1F0, 8, "isst_addr"),
            number(0x1F8, 8, "rax"),
            number(0x200, 8, "star"),
            number(0x208, 8, "lstar"),
            number(0x210, 8, "cstar"),
            number(0x218, 8, "sfmask"),
            number(0x220, 8, "kernel_gs_base"),
            number(0x228, 8, "sysenter_cs"),
            number(0x230, 8, "sysenter_esp"),
            number(0x238, 8, "sysenter_eip"),
            number(0x240, 8, "cr2"),
            zeros(0x248, 32),
            number(0x268, 8, "g_pat"),
            number(0x270, 8, "dbgctl"),
            number(0x278, 8, "br_from"),
            number(0x280, 8, "br_to"),
            number(0x288, 8, "last_excp_from"),
            number(0x290, 8, "last_excp_to"),
            zeros(0x298, 80),
            number(0x2E8, 4, "pkru"),
            number(0x2EC, 4, "tsc_aux"),
            zeros(0x2F0, 24),
            number(0x308, 8, "rcx"),
            number(0x310, 8, "rdx"),
            number(0x318, 8, "rbx"),
            zeros(0x320, 8),
            number(0x328, 8, "rbp"),
            number(0x330, 8, "rsi"),
            number(0x338, 8, "rdi"),
            number(0x340, 8, "r8"),
            number(0x348, 8, "r9"),
            number(0x350, 8, "r10"),
            number(0x358, 8, "r11"),
            number(0x360, 8, "r12"),
            number(0x368, 8, "r13"),
            number(0x370, 8, "r14"),
            number(0x378, 8, "r15"),
            zeros(0x380, 16),
            number(0x390, 8, "guest_exit_info_1"),
            number(0x398, 8, "guest_exit_info_2"),
            number(0x3A0, 8, "guest_exit_int_info"),
            number(0x3A8, 8, "guest_nrip"),
            number(0x3B0, 8, "sev_features"),
            number(0x3B8, 8, "vintr_ctrl"),
            number(0x3C0, 8, "guest_exit_code"),
            number(0x3C8, 8, "virtual_tom"),
            number(0x3D0, 8, "tlb_id"),
            number(0x3D8, 8, "pcpu_id"),
            number(0x3E0, 8, "event_inj"),
            number(0x3E8, 8, "xcr0"),
            zeros(0x3F0, 16),
            number(0x400, 8, "x87_dp"),
            number(0x408, 4, "mxcsr"),
            number(0x40C, 2, "x87_ftw"),
            number(0x40E, 2, "x87_fsw"),
            number(0x410, 2, "x87_fcw"),
            number(0x412, 2, "x87_fop"),
            number(0x414, 2, "x87_ds"),
            number(0x416, 2, "x87_cs"),
            number(0x418, 8, "x87_rip"),
            raw(0x420, 80, "fpreg_x87"),
            raw(0x470, 256, "fpreg_xmm"),
            raw(0x570, 256, "fpreg_ymm"),
            zeros(0x670, 2448),
        ),
    )

    es: Segment
    cs: Segment
    ss: Segment
    ds: Segment
    fs: Segment
    gs: Segment
    gdtr: Segment
    ldtr: Segment
    idtr: Segment
    tr: Segment
    vmpl0_ssp: int
    vmpl1_ssp: int
    vmpl2_ssp: int
    vmpl3_ssp: int
    u_cet: int
    vmpl: int
    cpl: int
    efer: int
    xss: int
    cr4: int
    cr3: int
    cr0: int
    dr7: int
    dr6: int
    rflags: int
    rip: int
    dr0: int
    dr1: int
    dr2: int
    dr3: int
    dr0_addr_mask: int
    dr1_addr_mask: int
    dr2_addr_mask: int
    dr3_addr_mask: int
    rsp: int
    s_cet: int
    ssp: int
    isst_addr: int
    rax: int
    star: int
    lstar: int
    cstar: int
    sfmask: int
    kernel_gs_base: int
    sysenter_cs: int
    sysenter_esp: int
    sysenter_eip: int
    cr2: int
    g_pat: int
    dbgctl: int
    br_from: int
    br_to: int
    last_excp_from: int
    last_excp_to: int
    pkru: int
    tsc_aux: int
    rcx: int
    rdx: int
    rbx: int
    rbp: int
    rsi: int
    rdi: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    guest_exit_info_1: int
    guest_exit_info_2: int
    guest_exit_int_info: int
    guest_nrip: int
    sev_features: int
    vintr_ctrl: int
    guest_exit_code: int
    virtual_tom: int
    tlb_id: int
    pcpu_id: int
    event_inj: int
    xcr0: int
    x87_dp: int
    mxcsr: int
    x87_ftw: int
    x87_fsw: int
    x87_fcw: int
    x87_fop: int
    x87_ds: int
    x87_cs: int
    x87_rip: int
    fpreg_x87: bytes
    fpreg_xmm: bytes
    fpreg_ymm: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


_ZERO = Vmsa.parse(bytes(Vmsa.LAYOUT.size))


def reset_state(eip: int, vmm: Vmm, vcpu_signature: int, guest_features: int) -> Vmsa:
    """The registers with which a hypervisor starts a vCPU at ``eip``, in real mode.

    Args:
        eip: linear address: its upper half is CS's base, its lower half RIP.
        vmm: sets segment attributes, RDX, and the control words of the floating point unit.
        vcpu_signature: CPUID Fn0000_0001_EAX, which QEMU puts into RDX.
        guest_features: SEV_FEATURES.

    Source: APM volume 2, 14.1.3 (state after reset), and what KVM adds to it: EFER.SVME, CR4.MCE.
    """
    data = Segment(0, 0x93, 0xFFFF, 0)
    table = Segment(0, 0, 0xFFFF, 0)
    code, stack, task = 0x9B, 0x93, 0x8B
    if vmm is Vmm.EC2:
        code, stack, task = (0x9A if eip == BSP_EIP else 0x9B), 0x92, 0x83
    is_qemu = vmm is Vmm.QEMU
    return replace(
        _ZERO,
        es=data,
        cs=Segment(0xF000, code, 0xFFFF, eip & 0xFFFF_0000),
        ss=Segment(0, stack, 0xFFFF, 0),
        ds=data,
        fs=data,
        gs=data,
        gdtr=table,
        ldtr=Segment(0, 0x82, 0xFFFF, 0),
        idtr=table,
        tr=Segment(0, task, 0xFFFF, 0),
        efer=0x1000,
        cr4=0x40,
        cr0=0x10,
        dr7=0x400,
        dr6=0xFFFF_0FF0,
        rflags=0x2,
        rip=eip & 0xFFFF,
        g_pat=0x0007_0106 if vmm is Vmm.GCE else 0x0007_0406_0007_0406,
        rdx=vcpu_signature if is_qemu else 0x600,
        sev_features=guest_features,
        xcr0=0x1,
        mxcsr=0x1F80 if is_qemu else 0,
        x87_fcw=0x37F if is_qemu else 0,
    )
