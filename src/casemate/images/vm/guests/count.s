# Counts for ever in a private page, one for each vCPU, and prints the count now and then.

.equ ROUNDS, 0x40000            # between two lines

main:
    xor edi, edi
ap_main:
    mov ebx, edi
    shl edi, 12
    add edi, COUNTERS
    call validate_page
count_on:
    mov ecx, ROUNDS
count_round:
    inc qword ptr [rdi]
    dec ecx
    jnz count_round
    call say
    .asciz "vCPU "
    mov eax, ebx
    call print_number
    call say
    .asciz " has counted to "
    mov rax, qword ptr [rdi]
    call print_number
    call newline
    jmp count_on
