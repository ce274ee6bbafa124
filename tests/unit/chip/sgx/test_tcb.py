from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.errors import LeafError, StateError, Status
from casemate.chip.sgx.tcb import FILE_NAME, FIRST_TCB, Tcb, load_tcb, store_tcb

NEWER = Tcb(bytes((8, 8, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn)


def test_new_chip_has_what_chips_are_born_with(tmp_path: Path) -> None:
    assert load_tcb(tmp_path) == FIRST_TCB


def test_update_survives_a_restart(tmp_path: Path) -> None:
    store_tcb(tmp_path, FIRST_TCB.updated(NEWER))
    assert load_tcb(tmp_path) == NEWER


@pytest.mark.parametrize(
    "older",
    [
        Tcb(bytes((6, *FIRST_TCB.cpu_svn[1:])), FIRST_TCB.pce_svn),
        Tcb(bytes((9, 6, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn),
        Tcb(FIRST_TCB.cpu_svn, FIRST_TCB.pce_svn - 1),
    ],
)
def test_refuses_a_step_back(older: Tcb) -> None:
    with pytest.raises(LeafError, match="no part may be older") as refusal:
        FIRST_TCB.updated(older)
    assert refusal.value.status is Status.NO_UPDATE


@given(st.binary(max_size=100))
def test_arbitrary_file_is_refused_with_words(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_bytes(content)
        with pytest.raises(StateError, match=r"damaged: .*casemate up --accept-loss REASON"):
            load_tcb(Path(folder))
