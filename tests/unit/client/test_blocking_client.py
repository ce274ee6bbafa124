"""The blocking client is what the script makes of the asyncio one, with the same names and signatures."""

import inspect
from typing import Any

import pytest
from scripts.blocking_client import MODULES, blocking, main

from casemate.client import aio, sync
from casemate.client.vm import aio as aio_vms
from casemate.client.vm import sync as sync_vms

CLASSES = [
    (aio.Client, sync.Client),
    (aio.Enclave, sync.Enclave),
    (aio.Stream, sync.Stream),
    (aio_vms.Vms, sync_vms.Vms),
]


def test_the_committed_files_are_what_the_script_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_change_of_the_asyncio_client_alone_is_noticed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (source, (target, docstring)), *_ = MODULES.items()
    monkeypatch.setitem(MODULES, source, (target, docstring.replace("blocking", "waiting")))
    assert main(["--check"]) == 1
    assert "run `make fix`" in capsys.readouterr().err


def test_async_and_await_are_gone_and_nothing_else() -> None:
    source = '"""Old."""\n\n\nasync def f(x: int) -> str:\n    async with g() as h:\n        return await h(x)\n'
    assert blocking(source, '"""New."""') == (
        '"""New."""\n\n\ndef f(x: int) -> str:\n    with g() as h:\n        return h(x)\n'
    )


@pytest.mark.parametrize(("of_asyncio", "of_threads"), CLASSES, ids=lambda cls: cls.__qualname__)
def test_both_clients_have_the_same_methods(of_asyncio: Any, of_threads: Any) -> None:
    def public(cls: Any) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [(each.name, each.default) for each in inspect.signature(member).parameters.values()]
            for name, member in vars(cls).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    assert public(of_asyncio) == public(of_threads)
