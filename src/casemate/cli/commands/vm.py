"""`casemate vm ...`: confidential VMs on a running machine, as its hypervisor sees them."""

from pathlib import Path
from typing import Annotated

import typer

from casemate.cli.options import FLAG, CaFile, Json, State, TokenFile, Url, digits
from casemate.cli.output import Screen
from casemate.wire.messages.vm.host import View
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.vmm import Vmm

Number = Annotated[
    int, typer.Argument(metavar="N", parser=digits, help="The VM's number: `casemate vm ps` lists them.")
]
Firmware = Annotated[
    str,
    typer.Argument(metavar="GUEST|FILE", help="A built-in guest (`casemate vm guests`), or a firmware image's file."),
]
Mode = Annotated[VmMode, typer.Option("--mode", help="How its memory is protected.")]
Memory = Annotated[int, typer.Option("--memory", metavar="MIB", min=4, max=2048, help="RAM.")]
Vcpus = Annotated[int, typer.Option("--vcpus", metavar="N", min=1, max=8, help="How many vCPUs.")]
VcpuType = Annotated[str, typer.Option("--vcpu-type", metavar="NAME", help="QEMU's name of the processor.")]
VmmOption = Annotated[Vmm, typer.Option("--vmm", help="Whose hypervisor's first registers are measured.")]
Debug = Annotated[
    bool, typer.Option("--debug", metavar=FLAG, help="Its policy lets the hypervisor decrypt its memory.")
]
HostData = Annotated[
    str | None, typer.Option("--host-data", metavar="HEX", help="32 bytes of the host's that reports carry.")
]
Kernel = Annotated[Path | None, typer.Option("--kernel", metavar="FILE", help="Measured, for a direct boot.")]
Initrd = Annotated[Path | None, typer.Option("--initrd", metavar="FILE", help="Measured with the kernel.")]
Append = Annotated[str, typer.Option("--append", metavar="TEXT", help="The kernel's command line, measured.")]
IdBlock = Annotated[Path | None, typer.Option("--id-block", metavar="FILE", help="ID_BLOCK, 96 bytes.")]
IdAuth = Annotated[Path | None, typer.Option("--id-auth", metavar="FILE", help="ID_AUTH, 4096 bytes.")]
AuthorKey = Annotated[bool, typer.Option("--author-key", metavar=FLAG, help="ID_AUTH has an author key.")]
NoFinish = Annotated[bool, typer.Option("--no-finish", metavar=FLAG, help="Stop before its registers are measured.")]
VmName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What `vm ps` shows. Default: the guest's.")]
Vcpu = Annotated[int, typer.Option("--vcpu", metavar="N", parser=digits, help="Which vCPU.")]
Time = Annotated[float, typer.Option("--time", metavar="SECONDS", min=0.001, help="Longest run.")]
Instructions = Annotated[
    int | None,
    typer.Option("--instructions", metavar="N", min=1, help="Most instructions, each of them counted: slow."),
]
Step = Annotated[bool, typer.Option("--step", metavar=FLAG, help="One instruction, and where it has led.")]
ConsoleLimit = Annotated[int, typer.Option("--console", metavar="BYTES", min=1, help="Most that it may print.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="In hexadecimal, with 0x.")]
Size = Annotated[int, typer.Option("--size", metavar="BYTES", min=1, max=1 << 24, help="How many bytes.")]
ViewOption = Annotated[View, typer.Option("--view", help="Through whose eyes; a guest's take a debug policy.")]
Count = Annotated[int | None, typer.Option("--count", metavar="PAGES", min=1, help="How many. Default: all.")]
RawFile = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The bytes, instead of a dump.")]
ReportFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Put the report there.")]
CertificatesFile = Annotated[
    Path | None, typer.Option("--certificates", metavar="FILE", help="Put the certificates there. Default: FILE.pem.")
]
ReportData = Annotated[
    str | None,
    typer.Option("--report-data", metavar="HEX", help="Up to 64 bytes that the report is over. Default: random."),
]
FirmwareFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Put the image there.")]
OfVlek = Annotated[
    bool, typer.Option("--vlek", metavar=FLAG, help="Reports are signed by a cloud provider's key, not by a chip's.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", metavar=FLAG, help="Go on as more is printed.")]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def guests(*, as_json: Json = False) -> None:
    """List the built-in guests: small programs in assembly that are assembled when they are launched."""
    from casemate.cli.vm.show import show_guests

    show_guests(Screen(as_json=as_json))


@app.command()
def firmware(
    guest: Annotated[str, typer.Argument(metavar="GUEST", help="A built-in guest.")],
    *,
    output: FirmwareFile,
    as_json: Json = False,
) -> None:
    """Write a built-in guest's image to a file: the same bytes on every computer, for any tool that measures OVMF.

    Example:
        casemate vm firmware report -o report.fd
        casemate measure --tee snp --ovmf report.fd --vcpu-type EPYC-Milan
    """
    from casemate.cli.files import write_file
    from casemate.cli.output import facts
    from casemate.images.vm.builtin import firmware as image_of

    image = image_of(guest)
    write_file(output, image, what="firmware")
    Screen(as_json=as_json).show(
        {"guest": guest, "firmware": str(output), "size": len(image)},
        lambda console: facts(console, [("firmware", f"{output} ({len(image)} bytes)")]),
    )


@app.command()
def policy(
    guest: Firmware,
    *,
    vcpus: Vcpus = 1,
    vcpu_type: VcpuType = "EPYC-Milan",
    vmm: VmmOption = Vmm.QEMU,
    debug: Debug = False,
    host_data: HostData = None,
    kernel: Kernel = None,
    initrd: Initrd = None,
    append: Append = "",
    vlek: OfVlek = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Print a policy for a guest's reports, to be kept and edited.

    It accepts exactly this guest as `casemate vm launch` with the same options
    launches it, under the root of the running machine's processor, at the
    newest TCB that its maker has published. The launch digest is computed
    here. Reports must answer a challenge: `casemate verify --report-data`.

    Example:
        casemate vm policy report > snp.toml
    """
    from casemate.cli.own_machine import machine_on
    from casemate.cli.snp.policies import POLICY_HEADER, Maker
    from casemate.cli.vm.launch import Launching, launch_message
    from casemate.cli.vm.policies import vm_policy
    from casemate.verifier import print_snp_policy
    from casemate.wire.snp.report import SigningKey

    wanted = launch_message(
        Launching(
            guest=guest,
            mode=VmMode.AUTHENTICATED,
            memory_mib=64,
            vcpus=vcpus,
            vcpu_type=vcpu_type,
            vmm=vmm,
            debug=debug,
            host_data=host_data,
            kernel=kernel,
            initrd=initrd,
            append=append,
            id_block=None,
            id_auth=None,
            author_key=False,
            finish=True,
            name=None,
        )
    )
    machine = machine_on(state)
    key = SigningKey.VLEK if vlek else SigningKey.VCEK
    made = vm_policy(wanted, Maker(machine.snp.root(), machine.status.seeded, key))
    text = f"{POLICY_HEADER}{print_snp_policy(made)}"
    (digest,) = made.measurement if isinstance(made.measurement, frozenset) else (b"",)
    Screen(as_json=as_json).show(
        {"launch_digest": digest.hex(), "policy": text}, lambda console: console.out(text, end="")
    )


@app.command()
def launch(
    guest: Firmware,
    *,
    mode: Mode = VmMode.AUTHENTICATED,
    memory: Memory = 64,
    vcpus: Vcpus = 1,
    vcpu_type: VcpuType = "EPYC-Milan",
    vmm: VmmOption = Vmm.QEMU,
    debug: Debug = False,
    host_data: HostData = None,
    kernel: Kernel = None,
    initrd: Initrd = None,
    append: Append = "",
    id_block: IdBlock = None,
    id_auth: IdAuth = None,
    author_key: AuthorKey = False,
    no_finish: NoFinish = False,
    name: VmName = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Launch a confidential VM: its pages are measured, encrypted, and its own from then on.

    Nothing runs yet: `casemate vm run N` does that.

    Example:
        casemate vm launch hello
    """
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.progress import Progress
    from casemate.cli.vm.launch import Launching, launch_message
    from casemate.cli.vm.show import show_vm

    screen = Screen(as_json=as_json)
    wanted = Launching(
        guest=guest,
        mode=mode,
        memory_mib=memory,
        vcpus=vcpus,
        vcpu_type=vcpu_type,
        vmm=vmm,
        debug=debug,
        host_data=host_data,
        kernel=kernel,
        initrd=initrd,
        append=append,
        id_block=id_block,
        id_auth=id_auth,
        author_key=author_key,
        finish=not no_finish,
        name=name,
    )
    message = launch_message(wanted)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        if as_json:
            found = client.vms.launch(message)
        else:
            with Progress(screen).step("measuring and encrypting", "launch"):
                found = client.vms.launch(message)
    show_vm(screen, found)


@app.command()
def ps(
    *, state: State = None, url: Url = None, token_file: TokenFile = None, ca: CaFile = None, as_json: Json = False
) -> None:
    """List the machine's VMs, in its host's words."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import show_vms

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_vms(Screen(as_json=as_json), client.vms.all())


@app.command()
def finish(
    number: Number,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """End a launch that --no-finish has left open: registers are measured, and nothing can be added any more."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import show_vm

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_vm(Screen(as_json=as_json), client.vms.finish(number))


@app.command()
def run(
    number: Number,
    *,
    vcpu: Vcpu = 0,
    time: Time = 10.0,
    instructions: Instructions = None,
    step: Step = False,
    console: ConsoleLimit = 1 << 20,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Let a vCPU run until it halts, cannot go on, or its budget ends; shows what it prints as it prints it.

    Exit code 1 where the guest has stopped for good.

    Example:
        casemate vm run 1 --time 30
    """
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.run import Limits, run_vm

    limits = Limits(time, 1 if step else instructions, console)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        stopped = run_vm(client.vms, number, vcpu, limits, Screen(as_json=as_json), step=step)
    if stopped:
        raise typer.Exit(1)


@app.command()
def pause(
    number: Number,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """End a run that is under way; the next one goes on from there."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import show_vm

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_vm(Screen(as_json=as_json), client.vms.pause(number))


@app.command()
def console(
    number: Number,
    *,
    follow: Follow = False,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show what a guest has printed on its serial port."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.run import show_console

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_console(client.vms, number, Screen(as_json=as_json), follow=follow)


@app.command()
def mem(
    number: Number,
    address: Address,
    *,
    size: Size = 256,
    view: ViewOption = View.HYPERVISOR,
    output: RawFile = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show memory, as the hypervisor sees it (by system address) or as the guest does (by its own).

    The hypervisor sees ciphertext where a page is the guest's. The guest's
    view is the firmware's debug command, which a guest's policy has to allow.

    Example:
        casemate vm mem 1 0x10000 --size 64
    """
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import address_of, show_memory

    at = address_of(address)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_memory(Screen(as_json=as_json), at, client.vms.memory(number, at, size, view), output)


@app.command()
def rmp(
    number: Number,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="System physical, of the first page, in hexadecimal with 0x.")
    ] = "0x0",
    *,
    count: Count = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show the reverse map table: whose each page of DRAM is. Pages in the same state share a row."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import address_of, rmp_entries, show_rmp

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_rmp(Screen(as_json=as_json), rmp_entries(client.vms, number, address_of(address), count))


@app.command()
def registers(
    number: Number,
    *,
    vcpu: Vcpu = 0,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Show a vCPU's registers: while it launches; then under plain SEV, or where its policy allows debugging."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import show_registers

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_registers(Screen(as_json=as_json), client.vms.registers(number, vcpu))


@app.command()
def attest(
    number: Number,
    *,
    output: ReportFile,
    report_data: ReportData = None,
    certificates: CertificatesFile = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    r"""Have a guest ask for its attestation report, and write it to a file.

    The guest must be one that does: `report` does. Nothing is appraised here:
    give the files to `casemate verify`, or to any verifier of SNP reports.

    Example:
        casemate vm attest 1 -o report.bin --report-data $CHALLENGE
        casemate verify report.bin --certificates report.bin.pem \
            --revocation-list report.bin.crl --policy snp.toml \
            --report-data $CHALLENGE
    """
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.attest import attest_vm, report_data_of

    data = report_data_of(report_data)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        evidence = client.vms.attest(number, data)
    attest_vm(Screen(as_json=as_json), number, evidence, output, certificates)


@app.command()
def destroy(
    number: Number,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """End a VM for good: its keys are gone, and what is left of its memory is of no use to anybody."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.vm.show import show_vm

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        show_vm(Screen(as_json=as_json), client.vms.destroy(number))
