"""The base of Python guests, as the spawner decides whether there can be one."""

import pytest

from casemate.spawner import python_base
from casemate.spawner.python_base import BaseState, PythonBase
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest


def test_it_is_absent_until_it_is_needed() -> None:
    base = PythonBase("/no/python", ())
    assert base.state is BaseState.ABSENT
    assert not base.refusal


def test_a_layer_that_is_off_refuses_it_by_name() -> None:
    base = PythonBase("/no/python", (LayerRequest(LayerName.SECCOMP, LayerMode.OFF),))
    assert base.state is BaseState.REFUSED
    assert "seccomp" in base.refusal
    assert not base.start(0.0)


def test_a_kernel_that_lists_no_children_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_base, "tells_children", lambda: False)
    base = PythonBase("/no/python", ())
    assert base.state is BaseState.REFUSED
    assert "CONFIG_PROC_CHILDREN" in base.refusal
