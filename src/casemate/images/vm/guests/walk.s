# Walks its own page tables for addresses of its own and prints what it finds at each level, with the C-bit.

.equ PRESENT, 0x001
.equ LARGE, 0x080
.equ ADDRESS_HIGH, 0x0007FFFF   # of bits 12 to 50; the C-bit is above them

main:
    call say
    .asciz "page tables at "
    mov rax, cr3
    call print_hex_number
    call newline
    call say
    .asciz "my stack, "
    mov rdi, rsp
    call walk
    test dword ptr [STATE_STATUS], SEV_ES
    jz walk_code
    call say
    .asciz "my GHCB, "
    mov rdi, rsp
    sub rdi, STACKS-GHCBS
    call walk
walk_code:
    call say
    .asciz "my code, "
    lea rdi, [rip+main]
    call walk
    ret

# The address in rdi, level by level. r8: table, r9: level, r10: shift of its index, r11: entry.
walk:
    mov rax, rdi
    call print_hex_number
    call newline
    mov r8, cr3
    mov r9d, 4
    mov r10d, 39
walk_level:
    mov ecx, r10d
    mov rdx, rdi
    shr rdx, cl
    and edx, 511
    mov r11, [r8+rdx*8]
    call say
    .asciz "  level "
    mov eax, r9d
    call print_number
    call say
    .asciz ", entry "
    mov eax, edx
    call print_number
    call say
    .asciz ": "
    mov rax, r11
    call print_hex_number
    bt r11, C_BIT
    jnc walk_shared
    call say
    .asciz ", private\n"
    jmp walk_down
walk_shared:
    call say
    .asciz ", shared\n"
walk_down:
    test r11d, PRESENT
    jz walk_end
    test r11d, LARGE
    jnz walk_end
    dec r9d
    jz walk_end
    sub r10d, 9
    mov rax, ADDRESS_HIGH
    shl rax, 32
    or rax, 0x7FFFF000
    and r11, rax
    mov r8, r11
    jmp walk_level
walk_end:
    ret

ap_main:
    ret
