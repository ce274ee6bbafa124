# AES-256-GCM with the processor's own instructions: NIST SP 800-38D, and Intel's white paper 323640 for the product in
# GF(2^128) with reflected bits. Blocks are done one by one: this is to be read, not to be fast.
#
# Both routines take in rdi the address of eight words: key (32 bytes), nonce (12 bytes), authenticated data, bytes of
# those, input, output (may be the input), bytes of it, tag (16 bytes). They keep all registers but rax and xmm.

.equ GCM_KEY, 0
.equ GCM_NONCE, 8
.equ GCM_AAD, 16
.equ GCM_AAD_SIZE, 24
.equ GCM_INPUT, 32
.equ GCM_OUTPUT, 40
.equ GCM_SIZE, 48
.equ GCM_TAG, 56
.equ GCM_WORDS, 64              # bytes of these

# Scratch memory on the stack, at r12.
.equ SCHEDULE, 0                # 15 round keys
.equ HASH_KEY, 240
.equ COUNTER, 256
.equ MASK, 272                  # the tag's: the first counter, encrypted
.equ BLOCK, 288
.equ SCRATCH, 304

# Encrypts, and writes the tag.
gcm_seal:
    call gcm_begin
    call gcm_crypt
    mov r13, [rbx+GCM_OUTPUT]
    call gcm_tag
    mov rdi, [rbx+GCM_TAG]
    movdqu [rdi], xmm0
    jmp gcm_end

# Compares the tag, and decrypts only if it fits: then eax is 1, else 0.
gcm_open:
    call gcm_begin
    mov r13, [rbx+GCM_INPUT]
    call gcm_tag
    mov rdi, [rbx+GCM_TAG]
    movdqu xmm1, [rdi]
    pcmpeqb xmm0, xmm1
    pmovmskb eax, xmm0
    cmp eax, 0xFFFF
    mov eax, 0
    jne gcm_end
    call gcm_crypt
    mov eax, 1
    jmp gcm_end

# Keeps registers and makes room behind the caller's return address; then key schedule, hash key, first counter.
gcm_begin:
    pop rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r12
    push r13
    mov rbp, rsp
    sub rsp, SCRATCH
    and rsp, -16
    mov r12, rsp
    push rax
    mov rbx, rdi
    movdqu xmm14, [rip+gcm_reverse]
    mov rsi, [rbx+GCM_KEY]
    call aes_expand
    pxor xmm0, xmm0
    call aes_block
    pshufb xmm0, xmm14
    movdqa [r12+HASH_KEY], xmm0
    mov rsi, [rbx+GCM_NONCE]
    mov rax, [rsi]
    mov [r12+COUNTER], rax
    mov eax, dword ptr [rsi+8]
    mov dword ptr [r12+COUNTER+8], eax
    mov dword ptr [r12+COUNTER+12], 0x01000000
    movdqa xmm0, [r12+COUNTER]
    call aes_block
    movdqa [r12+MASK], xmm0
    ret

# Wipes the schedule and returns to the routine's caller.
gcm_end:
    mov rdi, r12
    mov edx, eax
    xor eax, eax
    mov ecx, SCRATCH
    rep stosb
    mov eax, edx
    mov rsp, rbp
    pop r13
    pop r12
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    ret

# Input to output, by the counter's key stream.
gcm_crypt:
    mov rsi, [rbx+GCM_INPUT]
    mov rdi, [rbx+GCM_OUTPUT]
    mov rdx, [rbx+GCM_SIZE]
    mov dword ptr [r12+COUNTER+12], 0x01000000
crypt_block:
    test rdx, rdx
    jz crypt_end
    mov eax, dword ptr [r12+COUNTER+12]
    bswap eax
    inc eax
    bswap eax
    mov dword ptr [r12+COUNTER+12], eax
    movdqa xmm0, [r12+COUNTER]
    call aes_block
    movdqa [r12+BLOCK], xmm0
    xor ecx, ecx
crypt_byte:
    mov al, byte ptr [rsi]
    xor al, byte ptr [r12+rcx+BLOCK]
    mov byte ptr [rdi], al
    inc rsi
    inc rdi
    inc ecx
    dec rdx
    jz crypt_end
    cmp ecx, 16
    jb crypt_byte
    jmp crypt_block
crypt_end:
    ret

# The tag in xmm0, of the ciphertext at r13.
gcm_tag:
    pxor xmm15, xmm15
    mov rsi, [rbx+GCM_AAD]
    mov rdx, [rbx+GCM_AAD_SIZE]
    call hash_bytes
    mov rsi, r13
    mov rdx, [rbx+GCM_SIZE]
    call hash_bytes
    mov rax, [rbx+GCM_SIZE]
    shl rax, 3
    mov [r12+BLOCK], rax
    mov rax, [rbx+GCM_AAD_SIZE]
    shl rax, 3
    mov [r12+BLOCK+8], rax
    movdqa xmm0, [r12+BLOCK]
    call hash_block
    movdqa xmm0, xmm15
    pshufb xmm0, xmm14
    pxor xmm0, [r12+MASK]
    ret

# rdx bytes at rsi into the hash, the last block filled with zeros.
hash_bytes:
    test rdx, rdx
    jz hash_end
    pxor xmm0, xmm0
    movdqa [r12+BLOCK], xmm0
    xor ecx, ecx
hash_byte:
    mov al, byte ptr [rsi]
    mov byte ptr [r12+rcx+BLOCK], al
    inc rsi
    inc ecx
    dec rdx
    jz hash_whole
    cmp ecx, 16
    jb hash_byte
hash_whole:
    movdqa xmm0, [r12+BLOCK]
    pshufb xmm0, xmm14
    call hash_block
    jmp hash_bytes
hash_end:
    ret

# xmm15 = (xmm15 + xmm0) * hash key.
hash_block:
    pxor xmm0, xmm15
    movdqa xmm1, [r12+HASH_KEY]
    movdqa xmm3, xmm0
    pclmulqdq xmm3, xmm1, 0x00
    movdqa xmm4, xmm0
    pclmulqdq xmm4, xmm1, 0x10
    movdqa xmm5, xmm0
    pclmulqdq xmm5, xmm1, 0x01
    movdqa xmm6, xmm0
    pclmulqdq xmm6, xmm1, 0x11
    pxor xmm4, xmm5
    movdqa xmm5, xmm4
    pslldq xmm5, 8
    psrldq xmm4, 8
    pxor xmm3, xmm5
    pxor xmm6, xmm4
    movdqa xmm7, xmm3                       # xmm6:xmm3 is the product; one to the left, as its bits are reflected
    psrld xmm7, 31
    movdqa xmm8, xmm6
    psrld xmm8, 31
    pslld xmm3, 1
    pslld xmm6, 1
    movdqa xmm9, xmm7
    psrldq xmm9, 12
    pslldq xmm8, 4
    pslldq xmm7, 4
    por xmm3, xmm7
    por xmm6, xmm8
    por xmm6, xmm9
    movdqa xmm7, xmm3                       # modulo x^128 + x^7 + x^2 + x + 1
    pslld xmm7, 31
    movdqa xmm8, xmm3
    pslld xmm8, 30
    movdqa xmm9, xmm3
    pslld xmm9, 25
    pxor xmm7, xmm8
    pxor xmm7, xmm9
    movdqa xmm8, xmm7
    psrldq xmm8, 4
    pslldq xmm7, 12
    pxor xmm3, xmm7
    movdqa xmm2, xmm3
    psrld xmm2, 1
    movdqa xmm4, xmm3
    psrld xmm4, 2
    movdqa xmm5, xmm3
    psrld xmm5, 7
    pxor xmm2, xmm4
    pxor xmm2, xmm5
    pxor xmm2, xmm8
    pxor xmm3, xmm2
    pxor xmm6, xmm3
    movdqa xmm15, xmm6
    ret

# Encrypts xmm0 (FIPS 197).
aes_block:
    pxor xmm0, [r12+SCHEDULE]
    lea rax, [r12+SCHEDULE+16]
aes_round:
    aesenc xmm0, [rax]
    add rax, 16
    lea rcx, [r12+SCHEDULE+224]
    cmp rax, rcx
    jne aes_round
    aesenclast xmm0, [rax]
    ret

.macro even_key constant
    aeskeygenassist xmm2, xmm3, \constant
    call next_even_key
.endm
.macro odd_key
    aeskeygenassist xmm2, xmm1, 0
    call next_odd_key
.endm

# The key at rsi to 15 round keys.
aes_expand:
    lea rdi, [r12+SCHEDULE+32]
    movdqu xmm1, [rsi]
    movdqu xmm3, [rsi+16]
    movdqa [r12+SCHEDULE], xmm1
    movdqa [r12+SCHEDULE+16], xmm3
    even_key 0x01
    odd_key
    even_key 0x02
    odd_key
    even_key 0x04
    odd_key
    even_key 0x08
    odd_key
    even_key 0x10
    odd_key
    even_key 0x20
    odd_key
    even_key 0x40
    ret
next_even_key:
    pshufd xmm2, xmm2, 0xFF
    movdqa xmm4, xmm1
    pslldq xmm4, 4
    pxor xmm1, xmm4
    pslldq xmm4, 4
    pxor xmm1, xmm4
    pslldq xmm4, 4
    pxor xmm1, xmm4
    pxor xmm1, xmm2
    movdqa [rdi], xmm1
    add rdi, 16
    ret
next_odd_key:
    pshufd xmm2, xmm2, 0xAA
    movdqa xmm4, xmm3
    pslldq xmm4, 4
    pxor xmm3, xmm4
    pslldq xmm4, 4
    pxor xmm3, xmm4
    pslldq xmm4, 4
    pxor xmm3, xmm4
    pxor xmm3, xmm2
    movdqa [rdi], xmm3
    add rdi, 16
    ret

gcm_reverse:
    .byte 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
