# Seals a text with a key that the firmware derives for this measurement on this chip, prints it sealed and sends it on
# COM2; then unseals what waits on COM2, sealed by an earlier run.
#
# The nonce can be the same for ever: the text is a part of what is measured, so this key never meets a second one.

.equ MEASUREMENT, 0x08          # of GUEST_FIELD_SELECT
.equ DERIVED_KEY, ANSWERED+0x20
.equ SEALED_TAG, MESSAGE+12     # nonce, tag, ciphertext
.equ SEALED_TEXT, MESSAGE+28
.equ TEXT_SIZE, 42
.equ SEALED_SIZE, 28+TEXT_SIZE
.equ UNSEALED, MESSAGE+0x800

main:
    call messages_start
    call message_new
    mov qword ptr [PAYLOAD+8], MEASUREMENT
    mov eax, KEY_REQ
    mov ecx, KEY_REQ_SIZE
    mov edx, KEY_RSP_SIZE
    call ask_firmware

    call message_new
    mov rax, qword ptr [rip+nonce]
    mov qword ptr [MESSAGE], rax
    mov eax, dword ptr [rip+nonce+8]
    mov dword ptr [MESSAGE+8], eax
    lea rsi, [rip+text]
    mov edi, SEALED_TEXT
    call seal_words
    call gcm_seal
    add rsp, GCM_WORDS
    mov esi, MESSAGE
    mov ecx, SEALED_SIZE
    call say
    .asciz "sealed: "
    call print_bytes
    call newline
    call data_write

    call data_waits
    jz seal_end
    mov edi, MESSAGE
    call data_read
    mov esi, SEALED_TEXT
    mov edi, UNSEALED
    call seal_words
    call gcm_open
    add rsp, GCM_WORDS
    test eax, eax
    jz not_mine
    call say
    .asciz "unsealed: "
    mov esi, UNSEALED
    mov ecx, TEXT_SIZE
    call print_text
    call newline
    ret
not_mine:
    call say
    .asciz "cannot unseal: another key, or changed\n"
seal_end:
    ret

# The eight words of AES-GCM for text from rsi to rdi, nonce and tag at MESSAGE: on the stack, and rdi their address.
seal_words:
    pop rax
    push SEALED_TAG
    push TEXT_SIZE
    push rdi
    push rsi
    push 0
    push 0
    push MESSAGE
    push DERIVED_KEY
    mov rdi, rsp
    jmp rax

ap_main:
    ret

nonce:
    .ascii "casemate-001"
text:
    .ascii "what only this guest on this chip can read"
