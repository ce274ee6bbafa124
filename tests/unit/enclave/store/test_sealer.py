import base64
from dataclasses import replace

import pytest
from tests.rigs.store_lab import RULES, SECS, Lab, LabHost, begin, finish, put, secs

from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB, Tcb
from casemate.enclave.store.sealer import MAX_SEALED_TEXT, MAX_SEALED_VALUE, Sealer
from casemate.wire.messages.state import StateAppend
from casemate.wire.protocol.deployment import config_id
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import SealedKind, SealedRecord
from casemate.wire.sgx.attributes import AttributeFlag


def refused(code: Code) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code is code)


def sealer(machine: Lab, identity: Secs = SECS) -> Sealer:
    return Sealer(machine.leaf(identity).sealing_keys())


def seal(mine: Sealer, value: bytes, binding: SealBinding) -> str:
    return finish(mine.seal(value, binding))


def unseal(mine: Sealer, text: str) -> bytes:
    return finish(mine.unseal(text))


@pytest.mark.parametrize("binding", SealBinding)
def test_opens_in_another_launch_and_after_a_reboot(machine: Lab, binding: SealBinding) -> None:
    text = seal(sealer(machine), b'{"x":1}', binding)
    assert unseal(sealer(machine), text) == b'{"x":1}'
    machine.reboot(Tcb(bytes((9, 9, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn))
    assert unseal(sealer(machine), text) == b'{"x":1}'


def test_opens_for_whom_the_binding_names(machine: Lab) -> None:
    upgraded = secs(mr_enclave=b"n" * 32, isv_svn=3)
    mine, ours = (seal(sealer(machine), b"1", binding) for binding in (SealBinding.MRENCLAVE, SealBinding.MRSIGNER))
    assert unseal(sealer(machine, upgraded), ours) == b"1"
    for identity, text in (
        (upgraded, mine),
        (secs(isv_svn=1), ours),
        (secs(mr_signer=b"t" * 32), ours),
        (secs(isv_prod_id=8), ours),
    ):
        with refused(Code.STATE_REFUSED):
            unseal(sealer(machine, identity), text)


def test_does_not_open_on_another_machine(machine: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = seal(sealer(machine), b"1", SealBinding.MRSIGNER)
    other = Lab(tmp_path_factory.mktemp("other"), machine.loop, seed="another chip")
    with refused(Code.STATE_REFUSED):
        unseal(sealer(other), text)


def test_does_not_open_with_older_microcode_than_it_was_sealed_by(machine: Lab) -> None:
    machine.reboot(Tcb(bytes((9, 9, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn))
    text = seal(sealer(machine), b"1", SealBinding.MRSIGNER)
    machine.reboot(FIRST_TCB)
    with refused(Code.STATE_REFUSED):
        unseal(sealer(machine), text)


def test_every_changed_byte_is_refused(machine: Lab) -> None:
    mine = sealer(machine)
    sealed = base64.b64decode(seal(mine, b"1", SealBinding.MRSIGNER))
    for at in (*range(176), *range(176, len(sealed), 53), len(sealed) - 1):
        forged = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        with refused(Code.STATE_REFUSED):
            unseal(mine, base64.b64encode(forged).decode())


@pytest.mark.parametrize("text", ["", "no base64!", "é", "AAAA", "\ud800"])
def test_what_is_no_seal_is_refused(machine: Lab, text: str) -> None:
    with refused(Code.STATE_REFUSED):
        unseal(sealer(machine), text)


def test_a_record_of_the_state_is_not_opened_for_a_function(machine: Lab, host: LabHost) -> None:
    put(machine.launch(host, rules=RULES), a=b"1")
    (record,) = [asked.record for asked in host.questions if isinstance(asked, StateAppend)]
    with refused(Code.STATE_REFUSED):
        unseal(sealer(machine), base64.b64encode(record).decode())


def test_limits(machine: Lab) -> None:
    mine = sealer(machine)
    assert unseal(mine, seal(mine, bytes(MAX_SEALED_VALUE), SealBinding.MRSIGNER)) == bytes(MAX_SEALED_VALUE)
    with refused(Code.STATE_LIMIT):
        seal(mine, bytes(MAX_SEALED_VALUE + 1), SealBinding.MRSIGNER)
    with refused(Code.STATE_LIMIT):
        unseal(mine, "A" * (MAX_SEALED_TEXT + 1))


def test_small_values_are_of_one_size(machine: Lab) -> None:
    mine = sealer(machine)
    assert len({len(seal(mine, bytes(size), SealBinding.MRSIGNER)) for size in (0, 1, 500, 1000)}) == 1


def owned_by(tenant: bytes) -> Secs:
    """The same image, as a deployment of that tenant."""
    flags = SECS.attributes.flags | AttributeFlag.KSS
    return secs(attributes=replace(SECS.attributes, flags=flags), config_id=config_id(tenant * 32))


@pytest.mark.parametrize("binding", SealBinding)
def test_no_deployment_opens_what_another_has_sealed(machine: Lab, binding: SealBinding) -> None:
    parties = [SECS, owned_by(b"a"), owned_by(b"b")]
    texts = [seal(sealer(machine, each), b"1", binding) for each in parties]
    for mine in parties:
        for whose, text in zip(parties, texts, strict=True):
            if whose is mine:
                assert unseal(sealer(machine, mine), text) == b"1"
            else:
                with refused(Code.STATE_REFUSED):
                    unseal(sealer(machine, mine), text)


@pytest.mark.parametrize("binding", SealBinding)
def test_a_record_that_lies_about_its_namespace_does_not_open_either(machine: Lab, binding: SealBinding) -> None:
    """The host can write any header, and the chip gives each deployment keys of its own."""
    theirs, mine = owned_by(b"a"), owned_by(b"b")
    made = finish(machine.leaf(theirs).sealing_keys().seal(SealedKind.BLOB, binding, b"1"))
    record = SealedRecord.parse(made)
    keys = machine.leaf(mine).sealing_keys()
    renamed = replace(record.header, namespace=keys.namespace(binding))
    with refused(Code.STATE_REFUSED):
        finish(keys.open(replace(record, header=renamed)))


def test_a_new_deployment_begins_with_no_state(machine: Lab) -> None:
    host = machine.host()
    put(machine.launch(host, owned_by(b"a")), secret=b'"of a"')
    for other in (SECS, owned_by(b"b")):
        transaction = begin(machine.launch(host, other))
        assert transaction.get("secret") is None
    assert begin(machine.launch(host, owned_by(b"a"))).get("secret") == b'"of a"'
