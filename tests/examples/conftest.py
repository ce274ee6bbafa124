"""Machines and images for the examples' walk-throughs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import Workshop, client, machine, own_machine, policy_for, workshop
from tests.rigs.examples import Built, built

__all__ = ["client", "machine", "own_machine", "policy_for", "workshop"]

BuiltExample = Callable[[str], Built]


@pytest.fixture
def example(workshop: Workshop, tmp_path: Path) -> BuiltExample:
    """Builds an example by its name."""
    return lambda name: built(name, workshop.lock, tmp_path)
