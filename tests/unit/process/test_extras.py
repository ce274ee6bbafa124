import sys
from importlib import metadata
from pathlib import Path

import pytest

from casemate.process import extras
from casemate.process.extras import check_extra, engine_binary
from casemate.wire.errors import MissingExtraError, UnreadableExtraError


def test_what_is_installed_is_no_error() -> None:
    for name in extras.MODULES:
        check_extra(name, "this test")


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (
            ("no_such_module", "nor_that"),
            "this test needs the extra \"vm\": pip install 'casemate[vm]'",
        ),
        (
            ("json", "no_such_module"),
            "this test needs the extra \"vm\", of which no_such_module is not installed: pip install 'casemate[vm]'",
        ),
        (
            ("json", "no_such_module", "nor_that"),
            (
                'this test needs the extra "vm", of which no_such_module, nor_that are not installed: '
                "pip install 'casemate[vm]'"
            ),
        ),
    ],
)
def test_what_is_missing_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], said: str
) -> None:
    monkeypatch.setitem(extras.MODULES, "vm", modules)
    with pytest.raises(MissingExtraError) as refused:
        check_extra("vm", "this test")
    assert str(refused.value) == said
    assert refused.value.extra == "vm"


def test_what_this_user_may_not_read_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_such_module").symlink_to(tmp_path / "beyond")  # as of a folder that others may not enter
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setitem(extras.MODULES, "vm", ("no_such_module",))
    with pytest.raises(
        UnreadableExtraError, match=f"cannot read {tmp_path}/no_such_module: install Casemate in an env"
    ):
        check_extra("vm", "a VM")


def test_an_engine_whose_binary_is_gone_is_named_with_a_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert engine_binary("this test").is_file()
    about = tmp_path / "deno-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: deno\nVersion: 1\n")
    damaged = metadata.PathDistribution(about)
    monkeypatch.setattr(metadata, "distribution", lambda _name: damaged)
    for record, fault in (
        ("bin/deno,,\n", f"{tmp_path / 'bin/deno'} is missing"),
        ("deno.py,,\n", "the package deno has no binary"),
    ):
        (about / "RECORD").write_text(record)
        with pytest.raises(MissingExtraError) as refused:
            engine_binary("this test")
        want = f'this test needs the extra "machine", of which {fault}: '
        assert str(refused.value) == f"{want}pip install --force-reinstall 'casemate[machine]'"
