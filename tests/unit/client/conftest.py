import pytest
from tests.rigs.client.runs import Run, run_aio, run_sync


@pytest.fixture(params=[run_sync, run_aio], ids=["sync", "aio"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen
