# What a guest of SEV-ES and later asks of its hypervisor, and how (AMD 56421, GHCB specification): by the GHCB MSR's
# protocol until there is a page for it, and then by its GHCB, one page shared with the hypervisor for each vCPU.
# Whatever comes back is the hypervisor's word.

.equ GHCB_TERMINATE, 0x100
.equ GHCB_REGISTER, 0x012
.equ GHCB_REGISTERED, 0x013
.equ GHCB_PAGE_STATE, 0x014
.equ GHCB_PAGE_STATE_DONE, 0x015
.equ GHCB_TO_SHARED, 2

.equ EXIT_CPUID, 0x72
.equ EXIT_PORT, 0x7B
.equ EXIT_MSR, 0x7C
.equ EXIT_GUEST_REQUEST, 0x80000011

# Fields of the page. RAX's valid bit is 31 of the second word at VALID; RCX, RDX, RBX are 1, 2 and 3 of the fourth,
# the exit's code and informations are 18, 19 and 20, SCRATCH is 21, XCR0 is 29.
.equ GHCB_RAX, 0x1F8
.equ GHCB_RCX, 0x308
.equ GHCB_RDX, 0x310
.equ GHCB_RBX, 0x318
.equ GHCB_CODE, 0x390
.equ GHCB_INFO_1, 0x398
.equ GHCB_INFO_2, 0x3A0
.equ GHCB_SCRATCH, 0x3A8
.equ GHCB_XCR0, 0x3E8
.equ GHCB_VALID, 0x3F0
.equ GHCB_BUFFER, 0x800
.equ GHCB_VERSION, 0xFFA
.equ GHCB_USAGE, 0xFFC
.equ VALID_RAX, 0x80000000
.equ VALID_RCX, 0x2
.equ VALID_RDX, 0x4
.equ VALID_RBX, 0x8
.equ VALID_EXIT, 0x1C0000
.equ VALID_SCRATCH, 0x200000
.equ VALID_XCR0, 0x20000000
.equ OUT_STRING, 0x21C          # of SW_EXITINFO1: REP OUTS, of bytes, with 64-bit addresses

.macro vmgexit
    .byte 0xF3, 0x0F, 0x01, 0xD9
.endm
.macro pvalidate                # rax: address; ecx: 0 for 4 KiB; edx: 1 to validate, 0 to rescind
    .byte 0xF2, 0x0F, 0x01, 0xFF
.endm

# The MSR's protocol: request in rax, and the answer.
msr_protocol:
    push rcx
    push rdx
    mov rdx, rax
    shr rdx, 32
    mov ecx, GHCB_MSR
    wrmsr
    vmgexit
    rdmsr
    shl rdx, 32
    or rax, rdx
    pop rdx
    pop rcx
    ret

# Asks to be ended, and halts where that has no effect. Never returns.
terminate:
    test dword ptr [STATE_STATUS], SEV_ES
    jz halt
    mov eax, GHCB_TERMINATE
    call msr_protocol
    jmp halt

# Makes the private page at rdi one that it shares with the hypervisor, and zero.
share_page:
    push rax
    push rcx
    push rdx
    push rdi
    test dword ptr [STATE_STATUS], SEV_SNP
    jz share_mapping
    mov rax, rdi
    xor ecx, ecx
    xor edx, edx
    pvalidate
    test eax, eax
    jnz page_refused
    mov rax, GHCB_TO_SHARED
    shl rax, 52
    or rax, rdi
    or rax, GHCB_PAGE_STATE
    call msr_protocol
    cmp rax, GHCB_PAGE_STATE_DONE
    jne page_refused
share_mapping:
    mov rax, rdi
    shr rax, 12
    mov rcx, qword ptr [rax*8+PT_LOW]
    btr rcx, C_BIT
    mov qword ptr [rax*8+PT_LOW], rcx
    mov rax, cr3
    mov cr3, rax
    mov ecx, 512
    xor eax, eax
    rep stosq
    pop rdi
    pop rdx
    pop rcx
    pop rax
    ret

# Takes the page of RAM at rdi into use, zero: under SNP it is validated, and must not have been before. What a
# hypervisor puts in the place of a page that was validated once is not validated.
validate_page:
    push rax
    push rcx
    push rdx
    push rdi
    test dword ptr [STATE_STATUS], SEV_SNP
    jz clear_page
    mov rax, rdi
    xor ecx, ecx
    mov edx, 1
    pvalidate
    jc page_refused
    test eax, eax
    jnz page_refused
clear_page:
    mov ecx, 512
    xor eax, eax
    rep stosq
    pop rdi
    pop rdx
    pop rcx
    pop rax
    ret

page_refused:
    call say
    .asciz "the state of a page is not what it has to be: "
    mov rax, rdi
    call print_hex_number
    call newline
    jmp terminate

# Gives this vCPU its GHCB, where the mode has one.
ghcb_start:
    test dword ptr [STATE_STATUS], SEV_ES
    jz ghcb_started
    push rax
    push rdi
    mov rdi, rsp
    and rdi, -4096
    sub rdi, STACKS-GHCBS
    call share_page
    test dword ptr [STATE_STATUS], SEV_SNP
    jz ghcb_known
    mov rax, rdi
    or rax, GHCB_REGISTER
    call msr_protocol
    lea rdi, [rdi+GHCB_REGISTERED]
    cmp rax, rdi
    jne terminate
ghcb_known:
    pop rdi
    pop rax
ghcb_started:
    ret

# A question by the GHCB has begun: its address is in r12, and nothing in it is valid.
ghcb_begin:
    mov r12, rsp
    and r12, -4096
    sub r12, STACKS-GHCBS
    mov qword ptr [r12+GHCB_VALID], 0
    mov qword ptr [r12+GHCB_VALID+8], 0
    mov word ptr [r12+GHCB_VERSION], 2
    mov dword ptr [r12+GHCB_USAGE], 0
    ret

# Asks: code in rdi, informations in rsi and rdx. Changes rax, rcx, rdx. An answer that is an exception ends the guest.
ghcb_ask:
    mov qword ptr [r12+GHCB_CODE], rdi
    mov qword ptr [r12+GHCB_INFO_1], rsi
    mov qword ptr [r12+GHCB_INFO_2], rdx
    or dword ptr [r12+GHCB_VALID+12], VALID_EXIT
    mov rax, r12
    xor edx, edx
    mov ecx, GHCB_MSR
    wrmsr
    vmgexit
    cmp dword ptr [r12+GHCB_INFO_1], 0
    jne terminate
    ret

# rbx bytes at rsi to the port edx by one exit, as REP OUTSB would; rsi is behind them afterwards.
port_write:
    push rax
    push rcx
    push rdx
    push rdi
    push r12
    call ghcb_begin
    lea rdi, [r12+GHCB_BUFFER]
    mov qword ptr [r12+GHCB_SCRATCH], rdi
    or dword ptr [r12+GHCB_VALID+12], VALID_SCRATCH
    mov rcx, rbx
    rep movsb
    push rsi
    mov esi, edx
    shl esi, 16
    or esi, OUT_STRING
    mov rdx, rbx
    mov edi, EXIT_PORT
    call ghcb_ask
    pop rsi
    pop r12
    pop rdi
    pop rdx
    pop rcx
    pop rax
    ret

# #VC: rbp is the frame. Registers are the caller's to keep.
serve_vc:
    mov r8, [rbp+FRAME_RIP]
    mov rax, [rbp+FRAME_ERROR]
    cmp rax, EXIT_PORT
    je serve_port
    cmp rax, EXIT_CPUID
    je serve_cpuid
    cmp rax, EXIT_MSR
    je serve_msr
    jmp unexpected

# IN and OUT with one value. r9: bytes of the value, r10: the instruction, r11: bytes of it.
serve_port:
    mov r11d, 1
    mov r9d, 4
    cmp byte ptr [r8], 0x66
    jne port_opcode
    mov r9d, 2
    inc r8
    inc r11d
port_opcode:
    movzx r10d, byte ptr [r8]
    mov eax, r10d
    and eax, 0xF4
    cmp eax, 0xE4
    jne unexpected
    test r10d, 1
    jnz port_number
    mov r9d, 1
port_number:
    movzx esi, word ptr [rbp+FRAME_RDX]
    test r10d, 8
    jnz port_direction
    movzx esi, byte ptr [r8+1]
    inc r11d
port_direction:
    call ghcb_begin
    shl esi, 16
    mov eax, r9d
    shl eax, 4
    or esi, eax
    or esi, 0x200                           # 64-bit addresses
    test r10d, 2
    jnz port_out
    or esi, 1
    jmp port_ask
port_out:
    mov rax, [rbp+FRAME_RAX]
    call cut_to_size
    mov qword ptr [r12+GHCB_RAX], rax
    or dword ptr [r12+GHCB_VALID+4], VALID_RAX
port_ask:
    mov edi, EXIT_PORT
    xor edx, edx
    call ghcb_ask
    test r10d, 2
    jnz port_done
    test dword ptr [r12+GHCB_VALID+4], VALID_RAX
    jz terminate
    mov rax, qword ptr [r12+GHCB_RAX]
    cmp r9d, 2
    jb port_byte
    je port_word
    mov eax, eax
    mov qword ptr [rbp+FRAME_RAX], rax
    jmp port_done
port_word:
    mov word ptr [rbp+FRAME_RAX], ax
    jmp port_done
port_byte:
    mov byte ptr [rbp+FRAME_RAX], al
port_done:
    add qword ptr [rbp+FRAME_RIP], r11
    ret

# rax cut to r9 bytes.
cut_to_size:
    cmp r9d, 2
    jb cut_to_byte
    je cut_to_word
    mov eax, eax
    ret
cut_to_word:
    movzx eax, ax
    ret
cut_to_byte:
    movzx eax, al
    ret

# CPUID: from the page that the firmware has checked, where there is one; what is not in it, by the hypervisor's word.
serve_cpuid:
    mov r9d, dword ptr [rbp+FRAME_RAX]
    mov r10d, dword ptr [rbp+FRAME_RCX]
    test dword ptr [STATE_STATUS], SEV_SNP
    jz cpuid_ask
    mov ecx, dword ptr [CPUID_PAGE]
    cmp ecx, 64
    ja cpuid_ask
    mov esi, CPUID_PAGE+16
cpuid_look:
    test ecx, ecx
    jz cpuid_ask
    cmp dword ptr [rsi], r9d
    jne cpuid_next
    cmp dword ptr [rsi+4], r10d
    je cpuid_found
    cmp dword ptr [rsi+4], 0
    jne cpuid_next
    call has_subleaves
    jnz cpuid_next
cpuid_found:
    mov eax, dword ptr [rsi+24]
    mov qword ptr [rbp+FRAME_RAX], rax
    mov eax, dword ptr [rsi+28]
    mov qword ptr [rbp+FRAME_RBX], rax
    mov eax, dword ptr [rsi+32]
    mov qword ptr [rbp+FRAME_RCX], rax
    mov eax, dword ptr [rsi+36]
    mov qword ptr [rbp+FRAME_RDX], rax
    jmp two_bytes
cpuid_next:
    add esi, 48
    dec ecx
    jmp cpuid_look
cpuid_ask:
    call ghcb_begin
    mov qword ptr [r12+GHCB_RAX], r9
    mov qword ptr [r12+GHCB_RCX], r10
    mov qword ptr [r12+GHCB_XCR0], 1
    or dword ptr [r12+GHCB_VALID+4], VALID_RAX
    or dword ptr [r12+GHCB_VALID+12], VALID_RCX+VALID_XCR0
    mov edi, EXIT_CPUID
    xor esi, esi
    xor edx, edx
    call ghcb_ask
    test dword ptr [r12+GHCB_VALID+4], VALID_RAX
    jz terminate
    mov eax, dword ptr [r12+GHCB_VALID+12]
    and eax, VALID_RCX+VALID_RDX+VALID_RBX
    cmp eax, VALID_RCX+VALID_RDX+VALID_RBX
    jne terminate
    mov eax, dword ptr [r12+GHCB_RAX]
    mov qword ptr [rbp+FRAME_RAX], rax
    mov eax, dword ptr [r12+GHCB_RBX]
    mov qword ptr [rbp+FRAME_RBX], rax
    mov eax, dword ptr [r12+GHCB_RCX]
    mov qword ptr [rbp+FRAME_RCX], rax
    mov eax, dword ptr [r12+GHCB_RDX]
    mov qword ptr [rbp+FRAME_RDX], rax
two_bytes:
    add qword ptr [rbp+FRAME_RIP], 2
    ret

# Flags: zero if the answer to the leaf in r9d is the same for every ECX.
has_subleaves:
    cmp r9d, 0x7
    je subleaves
    cmp r9d, 0xB
    je subleaves
    cmp r9d, 0xD
    je subleaves
    cmp r9d, 0x8000001D
    je subleaves
    cmp r9d, 0x80000020
    je subleaves
    cmp r9d, r9d
    ret
subleaves:
    test esp, esp
    ret

serve_msr:
    call ghcb_begin
    mov eax, dword ptr [rbp+FRAME_RCX]
    mov qword ptr [r12+GHCB_RCX], rax
    or dword ptr [r12+GHCB_VALID+12], VALID_RCX
    xor esi, esi
    movzx r9d, byte ptr [r8+1]
    cmp r9d, 0x30                           # WRMSR
    jne msr_ask
    inc esi
    mov eax, dword ptr [rbp+FRAME_RAX]
    mov qword ptr [r12+GHCB_RAX], rax
    mov eax, dword ptr [rbp+FRAME_RDX]
    mov qword ptr [r12+GHCB_RDX], rax
    or dword ptr [r12+GHCB_VALID+4], VALID_RAX
    or dword ptr [r12+GHCB_VALID+12], VALID_RDX
msr_ask:
    mov edi, EXIT_MSR
    xor edx, edx
    call ghcb_ask
    cmp r9d, 0x30
    je two_bytes
    test dword ptr [r12+GHCB_VALID+4], VALID_RAX
    jz terminate
    test dword ptr [r12+GHCB_VALID+12], VALID_RDX
    jz terminate
    mov eax, dword ptr [r12+GHCB_RAX]
    mov qword ptr [rbp+FRAME_RAX], rax
    mov eax, dword ptr [r12+GHCB_RDX]
    mov qword ptr [rbp+FRAME_RDX], rax
    jmp two_bytes
