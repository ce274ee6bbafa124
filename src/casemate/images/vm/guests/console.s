# The two serial ports, polled: COM1 is the console, COM2 carries data. All registers but those named are kept.

.equ COM1, 0x3F8
.equ COM2, 0x2F8
.equ LINE_STATUS, 5
.equ DATA_READY, 0x01
.equ CAN_SEND, 0x20
.equ FIFO, 16                   # bytes that a port takes at once

# Prints al.
put:
    push rcx
    push rsi
    push rax
    mov rsi, rsp
    mov ecx, 1
    call print_text
    pop rax
    pop rsi
    pop rcx
    ret

# Prints rcx characters at rsi.
print_text:
    push rdx
    mov edx, COM1
    call send
    pop rdx
    ret

# rcx bytes at rsi to COM2.
data_write:
    push rdx
    mov edx, COM2
    call send
    pop rdx
    ret

# rcx bytes at rsi to the port edx, which takes FIFO of them each time that it says it can.
send:
    push rax
    push rbx
    push rcx
    push rsi
send_next:
    test rcx, rcx
    jz send_end
    add edx, LINE_STATUS
send_wait:
    in al, dx
    test al, CAN_SEND
    jz send_wait
    sub edx, LINE_STATUS
    mov ebx, FIFO
    cmp rcx, rbx
    jae send_fill
    mov ebx, ecx
send_fill:
    sub rcx, rbx
    test dword ptr [STATE_STATUS], SEV_ES
    jnz send_string
send_byte:
    mov al, byte ptr [rsi]
    out dx, al
    inc rsi
    dec ebx
    jnz send_byte
    jmp send_next
send_string:
    call port_write
    jmp send_next
send_end:
    pop rsi
    pop rcx
    pop rbx
    pop rax
    ret

# Flags: not zero if a byte waits on COM2.
data_waits:
    push rax
    push rdx
    mov edx, COM2+LINE_STATUS
    in al, dx
    test al, DATA_READY
    pop rdx
    pop rax
    ret

# The next byte of COM2 in al; waits for it.
data_get:
    call data_waits
    jnz data_take
    pause
    jmp data_get
data_take:
    push rdx
    mov edx, COM2
    in al, dx
    pop rdx
    ret

# rcx bytes of COM2 to rdi.
data_read:
    push rax
    push rcx
    push rdi
data_read_next:
    call data_get
    mov byte ptr [rdi], al
    inc rdi
    dec rcx
    jnz data_read_next
    pop rdi
    pop rcx
    pop rax
    ret

# Prints the text that follows the call, up to its 0, and goes on behind it.
say:
    xchg rsi, [rsp]
    push rcx
    xor ecx, ecx
say_measure:
    cmp byte ptr [rsi+rcx], 0
    je say_print
    inc ecx
    jmp say_measure
say_print:
    call print_text
    lea rsi, [rsi+rcx+1]
    pop rcx
    xchg rsi, [rsp]
    ret

newline:
    push rax
    mov al, 10
    call put
    pop rax
    ret

# Prints rcx bytes at rsi in hexadecimal, a FIFO full at a time.
print_bytes:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    sub rsp, FIFO
    mov edx, COM1
print_bytes_run:
    mov rdi, rsp
    xor ebx, ebx
print_bytes_next:
    mov al, byte ptr [rsi]
    shr al, 4
    call digit
    mov byte ptr [rdi+rbx], al
    mov al, byte ptr [rsi]
    call digit
    mov byte ptr [rdi+rbx+1], al
    add ebx, 2
    inc rsi
    dec rcx
    jz print_bytes_send
    cmp ebx, FIFO
    jb print_bytes_next
print_bytes_send:
    push rsi
    push rcx
    mov rsi, rdi
    mov ecx, ebx
    call send
    pop rcx
    pop rsi
    test rcx, rcx
    jnz print_bytes_run
    add rsp, FIFO
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    ret

# The low four bits of al as a digit in al.
digit:
    and al, 15
    add al, 48
    cmp al, 58
    jb digit_end
    add al, 39
digit_end:
    ret

# Prints rax as 0x and 16 digits.
print_hex_number:
    push rcx
    push rsi
    push rax
    bswap rax
    push rax
    call say
    .asciz "0x"
    mov rsi, rsp
    mov ecx, 8
    call print_bytes
    pop rax
    pop rax
    pop rsi
    pop rcx
    ret

# Prints rax in decimal.
print_number:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    mov rsi, rsp                            # the digits lie below it, 20 at most
    sub rsp, 32
    mov ebx, 10
    xor ecx, ecx
print_number_next:
    xor edx, edx
    div rbx
    add dl, 48
    dec rsi
    mov byte ptr [rsi], dl
    inc ecx
    test rax, rax
    jnz print_number_next
    call print_text
    add rsp, 32
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    ret

# Prints the mode, as far as a guest can know it.
print_mode:
    test dword ptr [STATE_STATUS], SEV_SNP
    jz no_snp
    call say
    .asciz "SEV-SNP"
    ret
no_snp:
    test dword ptr [STATE_STATUS], SEV_ES
    jz no_es
    call say
    .asciz "SEV-ES"
    ret
no_es:
    test dword ptr [STATE_STATUS], SEV
    jz no_sev
    call say
    .asciz "SEV"
    ret
no_sev:
    call say
    .asciz "no SEV"
    ret
