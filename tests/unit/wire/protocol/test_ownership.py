import pytest

from casemate.wire.protocol.ownership import PlaceError, check_own, check_secret

ME = 1000


@pytest.mark.parametrize(
    ("uid", "mode", "private", "words"),
    [
        (1001, 0o700, False, r"x is of user 1001, want this user's \(1000\)"),
        (0, 0o700, False, "x is of user 0"),
        (ME, 0o720, False, "x has mode 0720, others can write to it: chmod 700 x"),
        (ME, 0o702, True, "x has mode 0702, others can write to it: chmod 700 x"),
        (ME, 0o710, True, "x has mode 0710, others can look into it: chmod 700 x"),
        (ME, 0o1777, False, "x has mode 1777, others can write to it: it is everybody's"),
    ],
)
def test_refuses_what_is_not_ones_own_alone(uid: int, mode: int, private: bool, words: str) -> None:
    with pytest.raises(PlaceError, match=words):
        check_own("x", uid=uid, mode=0o40000 | mode, user=ME, private=private, mend="chmod 700")


@pytest.mark.parametrize(("mode", "private"), [(0o755, False), (0o700, True), (0o600, True)])
def test_takes_what_is_ones_own(mode: int, private: bool) -> None:
    check_own("x", uid=ME, mode=mode, user=ME, private=private, mend="chmod 700")


@pytest.mark.parametrize(("uid", "mode", "words"), [(ME, 0o640, "chmod 600 x"), (1001, 0o600, "of user 1001")])
def test_refuses_a_secret_of_others(uid: int, mode: int, words: str) -> None:
    with pytest.raises(PlaceError, match=words):
        check_secret("x", uid=uid, mode=mode, user=ME)


@pytest.mark.parametrize("uid", [ME, 0])
def test_takes_a_secret_of_ones_own_or_of_roots(uid: int) -> None:
    check_secret("x", uid=uid, mode=0o400, user=ME)
