# From the reset vector to long mode.
#
# A vCPU starts in 16-bit code, loads a flat GDT, goes to protected mode, learns from SEV_STATUS whether its memory is
# encrypted, and sets the C-bit (51) in page tables accordingly. Without paging every access is private (APM volume 2,
# 15.34.5), so the tables are private pages. The first vCPU builds them; the others wait until everything is ready.

.equ SEV_STATUS, 0xC0010131
.equ GHCB_MSR, 0xC0010130
.equ EFER, 0xC0000080
.equ SEV, 1
.equ SEV_ES, 2
.equ SEV_SNP, 4
.equ C_BIT, 51
.equ C_BIT_HIGH, 0x80000        # in the upper half of an entry

.equ TABLE, 0x23                # present, writable, accessed
.equ PAGE, 0x63                 # and dirty
.equ LARGE_PAGE, 0xE3           # and of 2 MiB
.equ HIGH_PAGE, 0xC00000E3      # the same, from 3 GiB on

.equ STATE_READY, STATE         # READY when everything is set up
.equ STATE_STATUS, STATE+8      # SEV_STATUS
.equ STATE_APS, STATE+16        # vCPUs that have come after the first
.equ STATE_SEQUENCE, STATE+24   # number of the last guest message
.equ STATE_PANIC, STATE+32      # not 0: a vCPU is reporting an unexpected exception
.equ READY, 0x59444152

.code16
bsp_reset:
    mov bp, 0
    jmp enter
ap_reset:
    mov bp, 1
enter:
    cli
    .byte 0x2E, 0x66, 0x0F, 0x01, 0x16      # lgdt cs:[...]
    .word gdt_register-SEGMENT
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xEA                        # jmp 8:protected
    .long protected
    .word 0x08

.balign 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF                # 0x08: 32-bit code
    .quad 0x00CF93000000FFFF                # 0x10: data
    .quad 0x00AF9B000000FFFF                # 0x18: 64-bit code
gdt_end:
gdt_register:
    .word gdt_end-gdt-1
    .long gdt
    .long 0

.code32
protected:
    mov eax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    movzx ebp, bp
    cld
    mov ecx, SEV_STATUS
    rdmsr
    mov esi, eax
    xor ebx, ebx                            # upper half of page table entries
    test esi, SEV
    jz tables
    mov ebx, C_BIT_HIGH
tables:
    test ebp, ebp
    jz build_tables
wait_for_first:
    pause
    cmp dword ptr [STATE_READY], READY
    jne wait_for_first
    jmp enable_paging

build_tables:
    xor eax, eax
    mov edi, PML4
    mov ecx, 7*1024                         # up to the IDT and with it
    rep stosd
    mov dword ptr [PML4], PDPT+TABLE
    mov dword ptr [PML4+4], ebx
    mov dword ptr [PDPT], PD_LOW+TABLE
    mov dword ptr [PDPT+4], ebx
    mov dword ptr [PDPT+24], PD_HIGH+TABLE
    mov dword ptr [PDPT+28], ebx
    mov edi, PD_LOW
    mov eax, LARGE_PAGE
    mov edx, 0x200000
    call fill_table
    mov dword ptr [PD_LOW], PT_LOW+TABLE
    mov edi, PD_HIGH
    mov eax, HIGH_PAGE
    call fill_table
    mov edi, PT_LOW
    mov eax, PAGE
    mov edx, 0x1000
    call fill_table
    mov dword ptr [STATE_STATUS], esi

enable_paging:
    mov eax, cr4
    or eax, 0x620                           # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, 0x100                           # LME
    wrmsr
    mov eax, cr0
    and eax, 0x9FFFFFF3                     # caches on; no EM, no TS
    or eax, 0x80010002                      # PG, WP, MP
    mov cr0, eax
    .byte 0xEA                              # jmp 0x18:long_mode
    .long long_mode
    .word 0x18

# 512 entries at edi: eax, and edx more each time; upper halves ebx.
fill_table:
    mov ecx, 512
next_entry:
    mov dword ptr [edi], eax
    mov dword ptr [edi+4], ebx
    add eax, edx
    add edi, 8
    dec ecx
    jnz next_entry
    ret

.code64
long_mode:
    mov eax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    xor ebx, ebx                            # number of this vCPU
    test ebp, ebp
    jz numbered
    mov ebx, 1
    lock xadd dword ptr [STATE_APS], ebx
    inc ebx
    cmp ebx, MAX_VCPUS
    jae halt
numbered:
    mov eax, ebx
    shl eax, 12
    lea rsp, [rax+STACKS+0x1000-16]
    test ebx, ebx
    jnz interrupts_on
    call fill_idt
interrupts_on:
    lidt [rip+idt_register]
    call ghcb_start
    test ebx, ebx
    jnz other
    mov dword ptr [STATE_READY], READY
    call main
    jmp halt
other:
    mov edi, ebx
    call ap_main
halt:
    cli
    hlt
    jmp halt
