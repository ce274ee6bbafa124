"""Which services use which: in what order they start and stop, and what is missing or goes round in a circle.

Pure functions over names. An edge leads from a service to one that it uses.
"""

from collections.abc import Iterable, Mapping

Uses = Mapping[str, tuple[str, ...]]
"""By the name of a service, the names that it uses."""


class GraphError(ValueError):
    """The services cannot be ordered.

    Args:
        path: the names from the one that was asked for to the one that is wrong, each using the next.
        words: what is wrong.
    """

    def __init__(self, path: tuple[str, ...], words: str) -> None:
        super().__init__(f"{' -> '.join(path)}: {words}")
        self.path = path


def start_layers(uses: Uses, roots: Iterable[str], others: Iterable[str] = ()) -> tuple[tuple[str, ...], ...]:
    """What has to be there for some services, in layers: those of one layer need nothing of each other.

    Args:
        uses: of all services that are known.
        roots: those that are wanted.
        others: names that are there although no service is known by them, as deployments that somebody has launched.

    Returns:
        Names in their order, what is used first; roots are in it, ``others`` are where they are used.

    Raises:
        GraphError: one is missing; or they go round in a circle.
    """
    there = frozenset(others)
    depth: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> int:
        here = (*path, name)
        if name in path:
            raise GraphError(here[here.index(name) :], "they use each other in a circle, so none can be the first")
        if name in depth:
            return depth[name]
        if name not in uses and name not in there:
            raise GraphError(here, "nothing of that name is installed or deployed here")
        below = [visit(used, here) for used in dict.fromkeys(uses.get(name, ()))]
        depth[name] = 1 + max(below, default=-1)
        return depth[name]

    for root in roots:
        visit(root, ())
    layers: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name in sorted(depth):
        layers[depth[name]].append(name)
    return tuple(map(tuple, layers))


def users_of(uses: Uses, name: str) -> tuple[str, ...]:
    """All services that need one, whatever is between; those that nothing of them uses come first, to be stopped so."""
    found: set[str] = set()
    wanted = [name]
    while wanted:
        used = wanted.pop()
        new = {user for user, names in uses.items() if used in names} - found - {name}
        found |= new
        wanted += sorted(new)
    inner = {user: tuple(each for each in uses[user] if each in found) for user in found}
    return tuple(each for layer in reversed(start_layers(inner, inner)) for each in layer)


def drawn(uses: Uses, states: Mapping[str, str]) -> tuple[str, ...]:
    """The graph as a tree of text lines: first who is used by nobody. What stands twice is drawn once.

    Args:
        uses: of all services.
        states: a word for each name, of used ones that are not installed too.
    """
    used = {name for names in uses.values() for name in names}
    roots = sorted(set(uses) - used) or sorted(uses)[:1]
    lines: list[str] = []
    seen: set[str] = set()

    def draw(name: str, indent: str, turn: str) -> None:
        below = tuple(dict.fromkeys(uses.get(name, ())))
        again = name in seen and bool(below)
        lines.append(f"{indent}{turn}{name} ({states.get(name, 'missing')}){', as above' if again else ''}")
        seen.add(name)
        if again:
            return
        inner = indent + ("" if not turn else "│  " if turn.startswith("├") else "   ")
        for at, each in enumerate(below):
            draw(each, inner, "└─ " if at == len(below) - 1 else "├─ ")

    for root in roots:
        draw(root, "", "")
    return tuple(lines)
