# Keeps two private pages, A and B, and says what it reads there: something to attack. Each page is full of one record of
# 16 bytes, a name of 8 and a number of 8. What was last written the guest remembers in registers, which no attack on
# memory reaches while it runs.
#
# While it waits for a command it looks at both again and again, and tells when something has become different.
#
# Commands, a byte each on COM2: r reads A, b reads B, w writes A with the next number, o writes A with number 1 again,
# e writes the same into both, h halts.

.equ SIZE, 4096
.equ RECORDS, 256

# r8, r9: A's record. r10, r11: B's. r13d, r14d: the first byte of A and of B that is not as written, as was told last.
main:
    mov edi, PAGE_A
    call validate_page
    mov edi, PAGE_B
    call validate_page
    mov r8, qword ptr [rip+name_a]
    mov r9d, 1
    mov r10, qword ptr [rip+name_b]
    mov r11d, 1
    call write_a
    call write_b
    call say
    .asciz "page A is at "
    mov eax, PAGE_A
    call print_hex_number
    call say
    .asciz ", page B at "
    mov eax, PAGE_B
    call print_hex_number
    call newline
    call read_a
    call read_b
command_next:
    call say
    .asciz "r, b, w, o, e or h?\n"
watch:
    call find_in_a
    cmp ebx, r13d
    je watch_b
    call read_a
watch_b:
    call find_in_b
    cmp ebx, r14d
    je watch_commands
    call read_b
watch_commands:
    call data_waits
    jnz command
    pause
    jmp watch
command:
    call data_get
    cmp al, 0x72                            # r
    je command_read_a
    cmp al, 0x62                            # b
    je command_read_b
    cmp al, 0x77                            # w
    je command_write
    cmp al, 0x6F                            # o
    je command_old
    cmp al, 0x65                            # e
    je command_equal
    cmp al, 0x68                            # h
    jne command_next
    call say
    .asciz "halt\n"
    ret
command_read_a:
    call read_a
    jmp command_next
command_read_b:
    call read_b
    jmp command_next
command_write:
    inc r9
    jmp command_write_a
command_old:
    mov r9d, 1
command_write_a:
    mov r8, qword ptr [rip+name_a]
    call write_a
    call say
    .asciz "A is written, number "
    mov rax, r9
    call print_number
    call newline
    jmp command_next
command_equal:
    mov r8, qword ptr [rip+name_same]
    inc r9
    mov r10, r8
    mov r11, r9
    call write_a
    call write_b
    call say
    .asciz "A and B are written the same\n"
    jmp command_next

write_a:
    mov r13d, SIZE
    mov edi, PAGE_A
    mov rax, r8
    mov rdx, r9
    jmp write_records
write_b:
    mov r14d, SIZE
    mov edi, PAGE_B
    mov rax, r10
    mov rdx, r11
write_records:
    mov ecx, RECORDS
write_record:
    mov qword ptr [rdi], rax
    mov qword ptr [rdi+8], rdx
    add rdi, 16
    dec ecx
    jnz write_record
    ret

read_a:
    call say
    .asciz "A: "
    call find_in_a
    mov r13d, ebx
    jmp tell
read_b:
    call say
    .asciz "B: "
    call find_in_b
    mov r14d, ebx
# The page's first record, and what find_change has found.
tell:
    mov ecx, 16
    call print_bytes
    cmp ebx, SIZE
    jne changed
    call say
    .asciz ", all as it was written\n"
    ret
changed:
    call say
    .asciz ", CHANGED: byte "
    mov eax, ebx
    call print_number
    call say
    .asciz " on is "
    add esi, ebx
    call print_bytes
    call newline
    ret

find_in_a:
    mov esi, PAGE_A
    mov rax, r8
    mov rdx, r9
    jmp find_change
find_in_b:
    mov esi, PAGE_B
    mov rax, r10
    mov rdx, r11
# ebx: the first byte of the page at rsi whose record is not rax and rdx; SIZE if all are.
find_change:
    xor ebx, ebx
find_next:
    cmp qword ptr [rsi+rbx], rax
    jne find_end
    cmp qword ptr [rsi+rbx+8], rdx
    jne find_end
    add ebx, 16
    cmp ebx, SIZE
    jne find_next
find_end:
    ret

ap_main:
    ret

name_a:
    .ascii "page A, "
name_b:
    .ascii "page B, "
name_same:
    .ascii "both are"
