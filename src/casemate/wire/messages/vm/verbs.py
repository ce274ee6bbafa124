"""The verbs of a host about confidential VMs, as :mod:`casemate.wire.messages.verbs` explains them."""

from casemate.wire.messages import snp_firmware
from casemate.wire.messages.verbs import ASK_TIMEOUT, LAUNCH_TIMEOUT, Query, RawBody, Route, Verb
from casemate.wire.messages.vm import host as vms
from casemate.wire.messages.vm.hypervisor import MAX_COPY
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

_ONE = (Code.UNKNOWN_VM,)
PROCESS_REFUSALS = (*_ONE, Code.WRONG_STATE, Code.BUSY, Code.LOST, Code.TIMED_OUT, Code.UNAVAILABLE, Code.MALFORMED)
"""The refusals of requests that need the VM's process."""
LAUNCH_REFUSALS = (*PROCESS_REFUSALS, Code.FIRMWARE_REFUSED)
"""The refusals of a launch and its steps."""

LAUNCH = Verb(
    vms.LaunchVm,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/vms",
        Role.DEPLOY,
        "launch_vm",
        "Create",
        refusals=LAUNCH_REFUSALS,
        by_hand="its body is the encoded request; idempotency keys; it counts to a token's share; 201 with a Location",
    ),
)
LIST = Verb(
    vms.ListVms,
    ASK_TIMEOUT,
    Route("GET", "/v1/vms", Role.CALL, "list_vms", "List All", "All VMs of this machine."),
)
GET = Verb(
    vms.GetVm,
    ASK_TIMEOUT,
    Route("GET", "/v1/vms/{id}", Role.CALL, "show_vm", "Show", "One VM.", refusals=_ONE),
)
ENCRYPT = Verb(
    vms.EncryptVm,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/encrypt",
        Role.DEPLOY,
        "encrypt_vm",
        "Encrypt",
        "Adds pages to a launch that is not finished: LAUNCH_UPDATE.",
        refusals=LAUNCH_REFUSALS,
        query=(Query("gpa"),),
        raw=RawBody("content", vms.MAX_FIRMWARE, "Pages; the last is filled with zeros."),
    ),
)
FINISH = Verb(
    vms.FinishVm,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/finish",
        Role.DEPLOY,
        "finish_vm",
        "Finish",
        "Ends a launch: registers are measured, then LAUNCH_FINISH.",
        refusals=LAUNCH_REFUSALS,
    ),
)
RUN = Verb(
    vms.RunVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/run",
        Role.DEPLOY,
        "run_vm",
        "Run",
        refusals=PROCESS_REFUSALS,
        by_hand="the vCPU is paused when its client hangs up; one request may run for a few seconds only",
    ),
)
PAUSE = Verb(
    vms.PauseVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/pause",
        Role.DEPLOY,
        "pause_vm",
        "Pause",
        "Ends a run that is under way; the next one goes on from there.",
        refusals=PROCESS_REFUSALS,
    ),
)
DESTROY = Verb(
    vms.DestroyVm,
    ASK_TIMEOUT,
    Route(
        "DELETE",
        "/v1/vms/{id}",
        Role.DEPLOY,
        "destroy_vm",
        "Destroy",
        "Ends a VM for good: its keys are gone.",
        refusals=PROCESS_REFUSALS,
    ),
)
MEMORY = Verb(
    vms.VmMemory,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/vms/{id}/memory",
        Role.CALL,
        "read_vm_memory",
        "Memory",
        "Memory as the hypervisor sees it, ciphertext where it is the guest's; or as the guest does, if debuggable.\n\n"
        "Where the guest's policy does not allow debugging, its view is refused as `wrong-state`.",
        refusals=PROCESS_REFUSALS,
        query=(Query("address"), Query("size", 4096), Query("view", vms.View.HYPERVISOR)),
    ),
)
RMP = Verb(
    vms.VmRmp,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/vms/{id}/rmp",
        Role.CALL,
        "read_vm_rmp",
        "Rmp",
        "The reverse map table: whose each page of DRAM is.",
        refusals=PROCESS_REFUSALS,
        query=(Query("spa", "0x0"), Query("count", 256)),
    ),
)
REGISTERS = Verb(
    vms.VmRegisters,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/vms/{id}/registers",
        Role.CALL,
        "read_vm_registers",
        "Read Registers",
        refusals=PROCESS_REFUSALS,
        query=(Query("vcpu", 0),),
        by_hand="it answers in two forms, by the Accept header",
    ),
)
ATTEST = Verb(
    vms.AttestVm,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/attest",
        Role.CALL,
        "attest_vm",
        "Attest",
        refusals=LAUNCH_REFUSALS,
        by_hand="it answers in two forms; it wants another role where it ends a launch; a leaving client pauses it",
    ),
)
WRITE = Verb(
    vms.WriteVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/write",
        Role.DEPLOY,
        "write_vm_memory",
        "Write",
        "A hostile host's hand on a VM's memory, for lessons.",
        refusals=(*PROCESS_REFUSALS, Code.RMP_FAULT),
        query=(Query("spa"), Query("path", parameter="door")),
        raw=RawBody("content", MAX_COPY, "What to write."),
    ),
)
MAP = Verb(
    vms.MapVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/map",
        Role.DEPLOY,
        "map_vm_page",
        "Map Page",
        "A hostile host's hand on the nested page table, for lessons.",
        refusals=PROCESS_REFUSALS,
        json=("gpa", "spa"),
    ),
)
ASSIGN = Verb(
    vms.AssignVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/assign",
        Role.DEPLOY,
        "assign_vm_page",
        "Assign",
        "A hostile host's hand on the reverse map table, for lessons.",
        refusals=PROCESS_REFUSALS,
        json=("spa", "gpa"),
    ),
)
GIVE = Verb(
    vms.GiveVm,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/vms/{id}/input",
        Role.DEPLOY,
        "give_vm_input",
        "Give",
        "Bytes for the guest, on its second serial port.",
        refusals=PROCESS_REFUSALS,
        raw=RawBody("content", vms.MAX_INPUT, "What the guest is to read."),
    ),
)
CONSOLE = Verb(
    vms.ReadConsole,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/vms/{id}/console",
        Role.CALL,
        "read_vm_console",
        "Read",
        "What a guest has printed, from a byte on: at most 64 KiB of it.",
        refusals=_ONE,
        query=(Query("start", 0),),
    ),
)
_OWNER = (snp_firmware.PlatformStatus, snp_firmware.SetConfig, snp_firmware.Commit, snp_firmware.LoadVlek)
PLATFORM_VERBS = tuple(Verb(request, ASK_TIMEOUT, None) for request in _OWNER)
"""The machine owner's requests about its SEV-SNP processor, from this computer only."""

VM_VERBS = (
    LAUNCH,
    LIST,
    GET,
    ENCRYPT,
    FINISH,
    RUN,
    PAUSE,
    DESTROY,
    MEMORY,
    RMP,
    REGISTERS,
    ATTEST,
    WRITE,
    MAP,
    ASSIGN,
    GIVE,
    CONSOLE,
)
