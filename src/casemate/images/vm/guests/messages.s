# Guest messages (AMD 56860, chapter 7): sealed with VMPCK 0, whose bearer is VMPL 0, and relayed by the hypervisor
# through two shared pages. A message is sealed and opened in private pages: what is shared can change at any time.

.equ VMPCK_0, SECRETS+0x20
.equ HEADER, 0x60
.equ HEADER_SEQUENCE, 0x20
.equ HEADER_AUTHENTICATED, 0x30
.equ HEADER_TYPE, 0x34
.equ HEADER_SIZE, 0x36
.equ HEADER_FIXED, 0x00600101   # ALGO, HDR_VERSION, HDR_SIZE
.equ MAX_PAYLOAD, 4000
.equ PAYLOAD, MESSAGE+HEADER
.equ ANSWERED, ANSWER+HEADER

.equ KEY_REQ, 3
.equ KEY_REQ_SIZE, 32
.equ KEY_RSP_SIZE, 64
.equ REPORT_REQ, 5
.equ REPORT_REQ_SIZE, 96
.equ REPORT_RSP_SIZE, 1216
.equ REPORT_SIZE, 1184

# Ends the guest with a word where there is no firmware to talk to; else prepares the pages for it.
messages_start:
    test dword ptr [STATE_STATUS], SEV_SNP
    jnz messages_possible
    call say
    .asciz "the firmware hears guests under SEV-SNP alone, and this is "
    call print_mode
    call newline
    jmp halt
messages_possible:
    push rdi
    mov edi, REQUEST
    call share_page
    mov edi, RESPONSE
    call share_page
    pop rdi
    ret

# Makes the page of the next message zero.
message_new:
    push rax
    push rcx
    push rdi
    mov edi, MESSAGE
    mov ecx, 512
    xor eax, eax
    rep stosq
    pop rdi
    pop rcx
    pop rax
    ret

# Sends the message of type eax with the ecx bytes at PAYLOAD. The answer's payload is at ANSWERED afterwards, as many
# bytes as edx wants it to have, its STATUS 0. Everything else ends the guest: no number may be used for two messages.
ask_firmware:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push r12
    push r13
    push r14
    mov r13d, eax
    mov r14d, edx
    mov rbx, qword ptr [STATE_SEQUENCE]
    inc rbx
    mov qword ptr [MESSAGE+HEADER_SEQUENCE], rbx
    mov dword ptr [MESSAGE+HEADER_AUTHENTICATED], HEADER_FIXED
    mov byte ptr [MESSAGE+HEADER_TYPE], al
    mov byte ptr [MESSAGE+HEADER_TYPE+1], 1
    mov word ptr [MESSAGE+HEADER_SIZE], cx
    mov esi, MESSAGE
    call message_words
    call gcm_seal
    add rsp, GCM_WORDS
    mov edi, REQUEST
    call copy_page

    call ghcb_begin
    mov edi, EXIT_GUEST_REQUEST
    mov esi, REQUEST
    mov edx, RESPONSE
    call ghcb_ask
    mov rax, qword ptr [r12+GHCB_INFO_2]
    test rax, rax
    jnz firmware_refused

    mov esi, RESPONSE
    mov edi, ANSWER
    call copy_page
    inc rbx
    cmp qword ptr [ANSWER+HEADER_SEQUENCE], rbx
    jne answer_wrong
    cmp dword ptr [ANSWER+HEADER_SEQUENCE+8], 0
    jne answer_wrong
    cmp dword ptr [ANSWER+HEADER_AUTHENTICATED], HEADER_FIXED
    jne answer_wrong
    inc r13d
    cmp byte ptr [ANSWER+HEADER_TYPE], r13b
    jne answer_wrong
    movzx ecx, word ptr [ANSWER+HEADER_SIZE]
    cmp ecx, MAX_PAYLOAD
    ja answer_wrong
    mov esi, ANSWER
    call message_words
    call gcm_open
    add rsp, GCM_WORDS
    test eax, eax
    jz answer_wrong
    mov qword ptr [STATE_SEQUENCE], rbx
    mov eax, dword ptr [ANSWERED]
    test eax, eax
    jnz firmware_refused
    cmp ecx, r14d
    jne answer_wrong
    pop r14
    pop r13
    pop r12
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    ret

# The eight words of AES-GCM for the message in the page at rsi, ecx bytes of payload: on the stack, and rdi their
# address. Nonce, authenticated data and tag are in its header.
message_words:
    pop rdi
    push rsi
    push rcx
    lea rax, [rsi+HEADER]
    push rax
    push rax
    push HEADER-HEADER_AUTHENTICATED
    lea rax, [rsi+HEADER_AUTHENTICATED]
    push rax
    lea rax, [rsi+HEADER_SEQUENCE]
    push rax
    push VMPCK_0
    mov rax, rdi
    mov rdi, rsp
    jmp rax

# The page at rsi to the page at rdi.
copy_page:
    push rcx
    push rsi
    push rdi
    mov ecx, 512
    rep movsq
    pop rdi
    pop rsi
    pop rcx
    ret

firmware_refused:
    call say
    .asciz "the firmware refuses: "
    call print_hex_number
    call newline
    jmp halt

answer_wrong:
    call say
    .asciz "the answer is not the firmware's\n"
    jmp halt
