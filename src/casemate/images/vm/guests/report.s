# Hands out attestation reports: for each 64 bytes that come on COM2, one report with those as its REPORT_DATA goes back.

.equ REPORT_DATA_SIZE, 64

main:
    call messages_start
report_next:
    call say
    .asciz "waiting for 64 bytes of report data\n"
    call message_new
    mov edi, PAYLOAD
    mov ecx, REPORT_DATA_SIZE
    call data_read
    call say
    .asciz "report data: "
    mov esi, PAYLOAD
    call print_bytes
    call newline
    mov eax, REPORT_REQ
    mov ecx, REPORT_REQ_SIZE
    mov edx, REPORT_RSP_SIZE
    call ask_firmware
    mov esi, ANSWERED+0x20
    mov ecx, REPORT_SIZE
    call data_write
    call say
    .asciz "handed out a report that says measurement "
    mov esi, ANSWERED+0x20+0x90
    mov ecx, 48
    call print_bytes
    call newline
    jmp report_next

ap_main:
    ret
