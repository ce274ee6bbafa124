"""The order of services: what is used comes first, circles and gaps are told with their path."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.protocol.service_graph import GraphError, drawn, start_layers, users_of

SHOP = {"shop": ("billing", "stock"), "billing": ("vault",), "stock": ("vault",), "vault": ()}


def test_what_is_used_starts_first_and_what_is_independent_at_once() -> None:
    assert start_layers(SHOP, ["shop"]) == (("vault",), ("billing", "stock"), ("shop",))
    assert start_layers(SHOP, ["billing"]) == (("vault",), ("billing",))
    assert start_layers(SHOP, []) == ()


def test_a_gap_is_told_with_its_path() -> None:
    with pytest.raises(GraphError, match="shop -> billing -> vault: nothing of that name") as raised:
        start_layers({"shop": ("billing",), "billing": ("vault",)}, ["shop"])
    assert raised.value.path == ("shop", "billing", "vault")
    assert start_layers({"shop": ("vault",)}, ["shop"], ["vault"]) == (("vault",), ("shop",))
    with pytest.raises(GraphError, match="other: nothing"):
        start_layers(SHOP, ["other"])


@pytest.mark.parametrize(
    ("uses", "path"),
    [
        ({"a": ("a",)}, ("a", "a")),
        ({"a": ("b",), "b": ("a",)}, ("a", "b", "a")),
        ({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)}, ("a", "b", "c", "a")),
    ],
)
def test_a_circle_is_told_with_its_path(uses: dict[str, tuple[str, ...]], path: tuple[str, ...]) -> None:
    with pytest.raises(GraphError, match="in a circle") as raised:
        start_layers(uses, [next(iter(uses))])
    assert raised.value.path == path


def test_users_stop_before_what_they_use() -> None:
    assert users_of(SHOP, "vault") == ("shop", "billing", "stock")
    assert users_of(SHOP, "billing") == ("shop",)
    assert users_of(SHOP, "shop") == ()


def test_a_graph_is_drawn_once() -> None:
    states = dict.fromkeys(SHOP, "ready")
    assert drawn(SHOP, states) == (
        "shop (ready)",
        "├─ billing (ready)",
        "│  └─ vault (ready)",
        "└─ stock (ready)",
        "   └─ vault (ready)",
    )
    assert (
        drawn({"a": ("b", "c"), "b": ("d",), "c": ("b",), "d": ()}, {"a": "ready"})[-1] == "   └─ b (missing), as above"
    )


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4).map(tuple)))
def test_every_graph_is_ordered_or_refused_with_a_path(uses: dict[str, tuple[str, ...]]) -> None:
    layers, path = _ordered(uses)
    if path:
        assert all(after in uses[before] for before, after in itertools.pairwise(path))
        assert path[-1] not in uses or path[0] == path[-1]
        return
    place = {name: at for at, layer in enumerate(layers) for name in layer}
    assert set(place) == set(uses)
    assert all(place[used] < place[name] for name, names in uses.items() for used in names)
    for name in uses:
        order = users_of(uses, name)
        assert set(order) == {each for each in uses if each != name and name in _all_used(uses, each)}
        assert all(order.index(a) < order.index(b) for a in order for b in order if b in _all_used(uses, a))
    assert {line.split("(")[0].strip("│├└─ ") for line in drawn(uses, {})} == set(uses)


def _ordered(uses: dict[str, tuple[str, ...]]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The layers, or the path with which the graph is refused."""
    try:
        return start_layers(uses, sorted(uses)), ()
    except GraphError as error:
        return (), error.path


def _all_used(uses: dict[str, tuple[str, ...]], name: str) -> set[str]:
    found: set[str] = set()
    wanted = list(uses.get(name, ()))
    while wanted:
        each = wanted.pop()
        if each not in found:
            found.add(each)
            wanted += uses.get(each, ())
    return found
