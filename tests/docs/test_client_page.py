"""docs/client.md explains every code and error that a caller can meet."""

import re

from tests.rigs.docs.markdown import ROOT, table

import casemate.client
from casemate.client import local
from casemate.link import errors as link
from casemate.verifier import RefusedError
from casemate.verifier.demands import PolicyError
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.faults import Code

PAGE = (ROOT / "docs" / "client.md").read_text()


def test_every_code_is_explained() -> None:
    shown = [code for row in table(PAGE, "code") for code in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(shown) == sorted(Code)


def test_every_error_that_is_explained_exists_and_is_one_of_ours() -> None:
    known = {name: getattr(casemate.client, name) for name in casemate.client.__all__} | vars(local) | vars(link)
    known |= {"RefusedError": RefusedError, "WireError": WireError, "PolicyError": PolicyError}
    names = [name for row in table(PAGE, "raised") for name in re.findall(r"`(\w+)`", row[0])]
    assert all(issubclass(known[name], CasemateError) for name in names)
    assert {name for name in casemate.client.__all__ if name.endswith("Error")} <= set(names)
