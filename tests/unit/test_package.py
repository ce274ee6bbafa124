"""The package itself: what `import casemate` offers, and `python -m casemate`."""

import subprocess
import sys
from importlib import metadata

import pytest

import casemate
from casemate.client import connect
from casemate.images.image import read_image


def test_offers_what_a_first_call_needs() -> None:
    assert casemate.connect is connect
    assert casemate.read_image is read_image
    assert set(casemate.__all__) <= set(dir(casemate))
    assert all(callable(getattr(casemate, name)) for name in casemate.__all__ if name != "__version__")


def test_has_its_version() -> None:
    assert casemate.__version__ == metadata.version("casemate")


def test_refuses_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        casemate.conect  # type: ignore[attr-defined] # noqa: B018


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "casemate", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"casemate {metadata.version('casemate')}\n"


def test_the_stub_names_what_the_module_offers() -> None:
    from importlib import resources

    stub = (resources.files("casemate") / "__init__.pyi").read_text()
    assert all(name in stub for name in casemate.__all__)


def test_the_client_offers_what_it_names_and_refuses_other_names() -> None:
    from casemate import client

    assert [name for name in client.__all__ if not hasattr(client, name)] == []
    name = "conect"
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        getattr(client, name)


def test_a_module_of_the_client_loads_no_others_than_it_needs() -> None:
    code = "import sys, casemate.client.local; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"casemate.verifier", "casemate.client.sync", "httpcore"} & set(loaded.split())
