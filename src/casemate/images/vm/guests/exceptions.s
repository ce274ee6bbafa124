# The IDT, and what becomes of exceptions: #VC is served, every other ends the guest with a few words.

.equ VC, 29
.equ PAGE_FAULT, 14
.equ NOT_VALIDATED, 0x404       # of #VC: a private page that is not, or no longer, validated
.equ VECTORS, 32
.equ STUB_SIZE, 16

# What lies on the stack while an exception is served.
.equ FRAME_RAX, 0
.equ FRAME_RCX, 8
.equ FRAME_RDX, 16
.equ FRAME_RBX, 24
.equ FRAME_VECTOR, 120
.equ FRAME_ERROR, 128
.equ FRAME_RIP, 136

idt_register:
    .word VECTORS*16-1
    .quad IDT

# Interrupt gates for all vectors, all at privilege 0.
fill_idt:
    lea rsi, [rip+stubs]
    mov edi, IDT
    mov ecx, VECTORS
next_gate:
    mov rax, rsi
    mov word ptr [rdi], ax
    mov word ptr [rdi+2], 0x18
    mov word ptr [rdi+4], 0x8E00
    shr rax, 16
    mov word ptr [rdi+6], ax
    shr rax, 16
    mov dword ptr [rdi+8], eax
    mov dword ptr [rdi+12], 0
    add rsi, STUB_SIZE
    add rdi, 16
    dec ecx
    jnz next_gate
    ret

.macro stub vector
    .balign STUB_SIZE
    push 0
    push \vector
    jmp exception
.endm
.macro stub_with_error vector
    .balign STUB_SIZE
    push \vector
    jmp exception
.endm
.balign STUB_SIZE
stubs:
    stub 0
    stub 1
    stub 2
    stub 3
    stub 4
    stub 5
    stub 6
    stub 7
    stub_with_error 8
    stub 9
    stub_with_error 10
    stub_with_error 11
    stub_with_error 12
    stub_with_error 13
    stub_with_error 14
    stub 15
    stub 16
    stub_with_error 17
    stub 18
    stub 19
    stub 20
    stub_with_error 21
    stub 22
    stub 23
    stub 24
    stub 25
    stub 26
    stub 27
    stub 28
    stub_with_error 29
    stub_with_error 30
    stub 31

.balign STUB_SIZE
exception:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push rbx
    push rdx
    push rcx
    push rax
    cld
    mov rbp, rsp
    cmp qword ptr [rbp+FRAME_VECTOR], VC
    jne unexpected
    call serve_vc
    pop rax
    pop rcx
    pop rdx
    pop rbx
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq

# Says which exception it was, where and why, and ends. A second one while it says so ends at once.
unexpected:
    mov eax, 1
    xchg dword ptr [STATE_PANIC], eax
    test eax, eax
    jnz terminate
    call say
    .asciz "unexpected exception "
    mov rax, [rbp+FRAME_VECTOR]
    call print_number
    call say
    .asciz ", error code "
    mov rax, [rbp+FRAME_ERROR]
    call print_hex_number
    call say
    .asciz ", at "
    mov rax, [rbp+FRAME_RIP]
    call print_hex_number
    cmp qword ptr [rbp+FRAME_VECTOR], PAGE_FAULT
    je unexpected_touch
    cmp qword ptr [rbp+FRAME_ERROR], NOT_VALIDATED
    jne unexpected_end
unexpected_touch:
    mov rax, cr2
    call say
    .asciz ", touching "
    call print_hex_number
unexpected_end:
    call newline
    jmp terminate
