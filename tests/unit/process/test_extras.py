import pytest

from casemate.process import extras
from casemate.process.extras import check_extra
from casemate.wire.errors import MissingExtraError


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
