import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.crypto import derive
from casemate.chip.errors import LeafError, Status
from casemate.chip.secret import Secret
from casemate.chip.sgx.microcode import Microcode, covers

ROOT = Secret(bytes(range(32)))
SVN = bytes((7, 7, 2, 2, 255, 1, 3, *bytes(9)))
svns = st.binary(min_size=16, max_size=16)


def raised(svn: bytes, component: int, to: int) -> bytes:
    return svn[:component] + bytes((to,)) + svn[component + 1 :]


def test_newer_microcode_derives_the_older_ones_root() -> None:
    newer = Microcode(ROOT, raised(SVN, 0, 9))
    assert newer.root_key(SVN) == Microcode(ROOT, SVN).root_key(SVN)


@given(newer=svns, steps=svns)
def test_every_older_version_is_within_reach(newer: bytes, steps: bytes) -> None:
    older = bytes(max(0, svn - step % 8) for svn, step in zip(newer, steps, strict=True))
    assert Microcode(ROOT, newer).root_key(older) == Microcode(ROOT, older).root_key(older)


@pytest.mark.parametrize("component", range(16))
def test_refuses_a_newer_component(component: int) -> None:
    svn = bytes((3,) * 16)
    with pytest.raises(LeafError, match="beyond this processor's") as refusal:
        Microcode(ROOT, svn).root_key(raised(svn, component, 4))
    assert refusal.value.status is Status.INVALID_CPUSVN


def test_refuses_newer_and_older_components_mixed() -> None:
    with pytest.raises(LeafError, match="beyond"):
        Microcode(ROOT, SVN).root_key(raised(raised(SVN, 0, 0), 2, 3))


def test_holds_no_link_from_which_a_newer_one_follows() -> None:
    """What the loaded microcode holds is the hash of what the next one would hold, and the root is not there."""
    held = Microcode(ROOT, SVN)
    newer = Microcode(ROOT, raised(SVN, 0, SVN[0] + 1))
    mine, next_ones = ([link.reveal() for link in each._links] for each in (held, newer))
    assert mine[0] == hashlib.sha256(b"casemate cpu svn step v1\x00" + next_ones[0]).digest()
    assert mine[1:] == next_ones[1:]
    assert not any(value is ROOT or value == ROOT.reveal() for value in vars(held).values())
    assert ROOT.reveal() not in mine


def test_each_link_equals_the_chain_recomputed_from_the_root() -> None:
    held = Microcode(ROOT, SVN)
    for component, svn in enumerate(SVN):
        link = derive(ROOT.reveal(), b"casemate cpu svn chain v1 " + bytes((component,)), 32)
        for _ in range(255 - svn):
            link = hashlib.sha256(b"casemate cpu svn step v1\x00" + link).digest()
        assert held._links[component].reveal() == link


def test_roots_of_all_versions_and_chips_differ() -> None:
    roots = {Microcode(ROOT, raised(SVN, at, 200)).root_key(raised(SVN, at, 200)) for at in range(16)}
    roots |= {Microcode(ROOT, SVN).root_key(SVN), Microcode(Secret(bytes(32)), SVN).root_key(SVN)}
    assert len(roots) == 18


def test_covers_compares_each_component() -> None:
    assert covers(b"\x02\x02", b"\x02\x01")
    assert not covers(b"\x02\x02", b"\x01\x03")
