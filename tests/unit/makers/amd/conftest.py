"""Makers of SEV-SNP processors to test with: made once, since their keys take a second each."""

from pathlib import Path

import pytest
from tests.rigs.makers import JUNE

from casemate.makers.amd import store
from casemate.makers.amd.keys import AmdRole
from casemate.makers.amd.office import AmdOffice
from casemate.makers.intel import store as vendor_store
from casemate.makers.intel.office import open_office
from casemate.wire.snp.tcb import Product


@pytest.fixture(scope="session", params=list(Product))
def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AmdOffice:
    """Each product's, with nothing issued."""
    state = tmp_path_factory.mktemp("maker")
    vendor_store.create(state, open_office(None, JUNE))
    product: Product = request.param
    return store.load(state, product, (AmdRole.ASK, AmdRole.ASVK), JUNE)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a maker whose keys follow from ``a seed``: Milan's root and its VCEKs' issuer."""
    state = tmp_path_factory.mktemp("seeded")
    vendor_store.create(state, open_office("a seed", JUNE))
    store.load(state, Product.MILAN, (AmdRole.ASK,), JUNE)
    return state
