"""Machines and images for the examples' walk-throughs."""

from pathlib import Path

import pytest
from tests.rigs.examples import BuiltExample, built
from tests.rigs.workshop import Workshop


@pytest.fixture
def example(workshop: Workshop, tmp_path: Path) -> BuiltExample:
    """Builds an example by its name."""
    return lambda name: built(name, workshop.lock, tmp_path)
