import errno
import re
import socket
from importlib import import_module
from pathlib import Path

import pytest

import casemate
from casemate.wire.errors import MissingExtraError, importing, os_error_text


def test_an_os_error_has_the_systems_words() -> None:
    assert os_error_text(FileNotFoundError(errno.ENOENT, "No such file or directory", "name")) == (
        "No such file or directory"
    )


def test_an_os_error_without_a_number_still_says_what_is_the_matter(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match="too long") as caught:
        sock.connect(str(tmp_path / ("x" * 200)))
    assert caught.value.strerror is None
    assert os_error_text(caught.value) == "AF_UNIX path too long"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "timed out"),
        (TimeoutError("in 5 s"), "in 5 s"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_an_os_error_without_words_is_named(error: OSError, words: str) -> None:
    assert os_error_text(error) == words


def test_nobody_else_takes_the_words_out_of_an_os_error() -> None:
    """Its ``strerror`` is None at times."""
    source = Path(casemate.__path__[0])
    users = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"(?<!\bos)\.strerror\b", path.read_text("utf-8"))
    }
    assert users == {"wire/errors.py"}


def test_a_package_that_is_missing_or_does_not_load_is_the_absence_of_its_extra() -> None:
    said = "of which no_such_module is not installed: pip install"
    with pytest.raises(MissingExtraError, match=said), importing("vm", "this test"):
        import_module("no_such_module")
    for broken in (OSError("libunicorn.so.2: cannot open"), ImportError("fail to load the dynamic library")):
        said = f"of which a package does not load .{broken}.: pip install --force-reinstall 'casemate.vm.'"
        with pytest.raises(MissingExtraError, match=said), importing("vm", "this test"):
            raise broken


def test_a_package_that_this_user_may_not_read_is_not_to_be_installed_over() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"cannot read /x/y: install .* or .*`chmod -R a\+rX") as caught,
        importing("vm", "a VM"),
    ):
        raise PermissionError(13, "Permission denied", "/x/y")
    assert "pip" not in str(caught.value)


def test_other_errors_of_an_import_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), importing("vm", "this test"):
        raise ZeroDivisionError
