import os

import pytest
from tests.rigs.sandbox_children import NOBODY, Run, run_child


@pytest.fixture(params=["as started", "as nobody"])
def child(request: pytest.FixtureRequest) -> Run:
    """Runs a function in a child, as this user and as one without rights."""
    if request.param == "as started":
        return run_child
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return lambda body: run_child(body, user=NOBODY)
