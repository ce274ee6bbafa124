"""Makers of SEV-SNP processors to test with: made once, since their keys take a second each."""

from pathlib import Path

import pytest
from tests.rigs.makers import JUNE

from casemate.makers.amd import store
from casemate.makers.amd.keys import AmdRole
from casemate.makers.amd.maker import AmdMaker
from casemate.makers.intel import store as intel_store
from casemate.makers.intel.maker import new_maker
from casemate.wire.snp.tcb import Product


@pytest.fixture(scope="session", params=list(Product))
def maker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AmdMaker:
    """Each product's, with nothing issued."""
    state = tmp_path_factory.mktemp("maker")
    intel_store.create(state, new_maker(None, JUNE))
    product: Product = request.param
    return store.load(state, product, (AmdRole.ASK, AmdRole.ASVK), JUNE)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a maker whose keys follow from ``a seed``: Milan's root and its VCEKs' issuer."""
    state = tmp_path_factory.mktemp("seeded")
    intel_store.create(state, new_maker("a seed", JUNE))
    store.load(state, Product.MILAN, (AmdRole.ASK,), JUNE)
    return state
