"""`casemate snp`, `vm policy` and `vm firmware` where there is no machine; docs/vm-tour.md has one."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.cli.snp.policies import Maker
from casemate.cli.vm.launch import Launching, launch_message
from casemate.cli.vm.policies import vm_policy
from casemate.images.vm.builtin import firmware
from casemate.verifier import SimulatedRoot, parse_snp_policy, print_snp_policy
from casemate.wire.messages.control import SnpRootIs
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import Product, TcbVersion
from casemate.wire.snp.vmm import Vmm


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("load-vlek", ""), "has a name"),
        (("load-vlek", "x" * 200), "no provider"),
        (("load-vlek", "CN=\N{SNOWMAN}"), "no provider"),
        (("revoke", "--provider", "a\nb"), "no provider"),
        (("configure", "--reported-tcb", "00"), "no TCB version"),
        (("configure", "--reported-tcb", "zz" * 8), "no TCB version"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    casemate: Casemate, arguments: tuple[str, ...], complaint: str
) -> None:
    said = casemate("snp", *arguments)
    assert said.code == 2
    assert complaint in said.err.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("snp", "status"),
        ("snp", "root", "-o", "ark.pem"),
        ("snp", "recover-tcb", "--advisory", "AMD-SB-99001"),
        ("snp", "update-firmware"),
        ("snp", "commit"),
        ("snp", "configure"),
        ("snp", "load-vlek", "CN=x"),
        ("snp", "revoke"),
        ("vm", "policy", "report"),
    ],
)
def test_without_a_machine_there_is_an_error_that_says_so(casemate: Casemate, arguments: tuple[str, ...]) -> None:
    said = casemate(*arguments, "--json")
    assert said.code == 1
    assert said.error["kind"] == "NoMachineError"


def test_a_built_in_guest_is_written_to_a_file(casemate: Casemate, tmp_path: Path) -> None:
    said = casemate("vm", "firmware", "report", "-o", tmp_path / "report.fd", "--json")
    assert said.json["size"] == len(firmware("report"))
    assert (tmp_path / "report.fd").read_bytes() == firmware("report")
    assert casemate("vm", "firmware", "nobody", "-o", tmp_path / "x").code != 0


@pytest.mark.parametrize("product", list(Product))
def test_a_policy_names_guest_root_and_newest_tcb_and_is_read_again(product: Product) -> None:
    tcb = TcbVersion(product, 4, 0, 24, 219, fmc=1 if product is Product.TURIN else None)
    wanted = launch_message(
        Launching(
            guest="report",
            mode=VmMode.SEV_SNP,
            memory_mib=16,
            vcpus=2,
            vcpu_type="EPYC-Genoa",
            vmm=Vmm.GCE,
            debug=False,
            host_data="07" * 32,
            kernel=None,
            initrd=None,
            append="",
            id_block=None,
            id_auth=None,
            author_key=False,
            finish=True,
            name=None,
        )
    )
    root = SnpRootIs(product, b"a root", b"", tcb.encode(), bytes(64))
    policy = vm_policy(wanted, Maker(root, seeded=False, signing_key=SigningKey.VLEK))
    assert parse_snp_policy(print_snp_policy(policy)) == policy
    assert policy.root == SimulatedRoot.of(b"a root")
    assert policy.signing_keys == {SigningKey.VLEK}
    assert policy.host_data == frozenset({b"\x07" * 32})
    assert {policy.reported_tcb, policy.committed_tcb, policy.launch_tcb, policy.current_tcb} == {tcb}
    assert policy.weaknesses() == ("SIMULATED_ROOT",)
    debugging = vm_policy(replace(wanted, policy=1 << 19), Maker(root, seeded=True, signing_key=SigningKey.VCEK))
    assert set(debugging.weaknesses()) == {"SIMULATED_ROOT", "UNSAFE_ALLOW_DEBUG", "UNSAFE_PUBLIC_SEED"}
