# Says where it runs, and halts.

main:
    call say
    .asciz "Hello from a confidential VM.\nmode: "
    call print_mode
    call say
    .asciz "\nprocessor: "
    sub rsp, 16
    xor eax, eax
    xor ecx, ecx
    cpuid
    mov dword ptr [rsp], ebx
    mov dword ptr [rsp+4], edx
    mov dword ptr [rsp+8], ecx
    mov rsi, rsp
    mov ecx, 12
    call print_text
    add rsp, 16
    mov eax, 1
    xor ecx, ecx
    cpuid
    call say
    .asciz ", "
    mov eax, eax
    call print_hex_number
    call newline
    ret

ap_main:
    call say
    .asciz "one more vCPU: "
    mov eax, edi
    call print_number
    call newline
    ret
