"""What an enclave's aliases mean on a host: its operator's word, kept over restarts and by new versions."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.rigs.host.fake_chip import FakeChip, host_of, sigstruct, stream

from casemate.host.orchestrator import Orchestrator
from casemate.wire.errors import WireError
from casemate.wire.messages.bindings import Binding, BindingsAre, BindUse, ListBindings
from casemate.wire.messages.functions import SwitchFunction
from casemate.wire.messages.host import Launch
from casemate.wire.protocol.capabilities.uses import MAX_USES
from casemate.wire.protocol.faults import Code, FaultError

Body = Callable[[Orchestrator, FakeChip], Awaitable[None]]


def image(name: str, text: bytes = b"text", *, temporary: bool = False, candidate: bool = False) -> Launch:
    sgxs = stream(text)
    return Launch(name, sgxs, sigstruct(sgxs), temporary, candidate=candidate)


def host(folder: Path, *bodies: Body) -> None:
    """Runs each body on a host of its own, one after the other, over one catalogue."""

    async def run(body: Body) -> None:
        async with host_of(folder) as (orchestrator, chip):
            await asyncio.wait_for(body(orchestrator, chip), 20)

    for body in bodies:
        asyncio.run(run(body))


async def refused(code: Code, doing: Awaitable[object], words: str) -> None:
    with pytest.raises(FaultError, match=words) as refusal:
        await doing
    assert refusal.value.fault.code is code


async def bindings(host: Orchestrator, number: int) -> BindingsAre:
    return await host.answer(ListBindings(number))


def test_an_alias_means_the_deployment_of_its_name_until_it_is_bound(tmp_path: Path) -> None:
    async def first(host: Orchestrator, _: FakeChip) -> None:
        for name in ("shop", "billing", "billing-test"):
            await host.launch(image(name))
        assert host.bound(1, "billing").enclave == 2
        assert await host.bind(BindUse(1, "billing", "billing-test")) == BindingsAre(
            (Binding("billing", "billing-test"),)
        )
        assert host.bound(1, "billing").enclave == 3
        assert host.bound(2, "billing").enclave == 2
        await host.bind(BindUse(1, "mail", "2"))
        assert host.bound(1, "mail").enclave == 2

    async def second(host: Orchestrator, _: FakeChip) -> None:
        wanted = BindingsAre((Binding("billing", "billing-test"), Binding("mail", "2")))
        assert await host.answer(ListBindings(1)) == wanted
        assert host.bound(1, "billing").enclave == 3
        assert await host.bind(BindUse(1, "billing", "")) == BindingsAre((Binding("mail", "2"),))
        assert host.bound(1, "billing").enclave == 2

    async def third(host: Orchestrator, _: FakeChip) -> None:
        assert await host.answer(ListBindings(1)) == BindingsAre((Binding("mail", "2"),))
        await host.destroy(2)
        with pytest.raises(FaultError, match="no enclave 2"):
            host.bound(1, "mail")
        with pytest.raises(FaultError, match="no function 'billing' here"):
            host.bound(1, "billing")
        await host.destroy(1)

    async def fourth(host: Orchestrator, _: FakeChip) -> None:
        await refused(Code.UNKNOWN_ENCLAVE, bindings(host, 1), "no enclave 1")

    host(tmp_path, first, second, third, fourth)


def test_a_new_version_uses_what_the_old_one_used(tmp_path: Path) -> None:
    async def first(host: Orchestrator, _: FakeChip) -> None:
        await host.launch(image("shop"))
        await host.bind(BindUse(1, "billing", "7"))
        await host.bind(BindUse(1, "mail", "8"))
        launched = await host.launch(image("shop", b"new", candidate=True))
        await host.bind(BindUse(launched.enclave, "mail", "9"))
        await host.switch(SwitchFunction("shop", launched.enclave, 1, 0))
        assert await host.answer(ListBindings(launched.enclave)) == BOTH

    async def second(host: Orchestrator, _: FakeChip) -> None:
        assert await host.answer(ListBindings(2)) == BOTH

    host(tmp_path, first, second)


BOTH = BindingsAre((Binding("billing", "7"), Binding("mail", "9")))


def test_a_temporary_enclave_has_bindings_as_long_as_it_is_there(tmp_path: Path) -> None:
    async def first(host: Orchestrator, _: FakeChip) -> None:
        await host.launch(image("shop", temporary=True))
        assert (await host.bind(BindUse(1, "billing", "7"))).bindings

    async def second(host: Orchestrator, _: FakeChip) -> None:
        await refused(Code.UNKNOWN_ENCLAVE, host.bind(BindUse(1, "billing", "7")), "no enclave 1")

    host(tmp_path, first, second)


@pytest.mark.parametrize(
    ("alias", "target", "words"),
    [
        ("Billing", "x", "alias is 'Billing'"),
        ("42", "x", "alias is '42'"),
        ("", "x", "alias is ''"),
        ("billing", "../x", "target is '../x'"),
        ("billing", "0", "target is '0'"),
        ("billing", "9" * 30, "target is '999"),
        ("billing", "\u0661", "target is"),
    ],
)
def test_what_no_manifest_and_no_host_can_have_is_refused(tmp_path: Path, alias: str, target: str, words: str) -> None:
    async def body(host: Orchestrator, _: FakeChip) -> None:
        await host.launch(image("shop"))
        with pytest.raises(WireError, match=words):
            await host.bind(BindUse(1, alias, target))

    host(tmp_path, body)


def test_an_enclave_has_no_more_bindings_than_a_manifest_has_tables(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _: FakeChip) -> None:
        await host.launch(image("shop"))
        for number in range(MAX_USES):
            await host.bind(BindUse(1, f"a{number}", "7"))
        await refused(Code.BUSY, host.bind(BindUse(1, "one-more", "7")), "has 64 bindings")
        await host.bind(BindUse(1, "a0", "8"))
        await host.bind(BindUse(1, "a1", ""))
        await host.bind(BindUse(1, "one-more", "7"))

    host(tmp_path, body)
