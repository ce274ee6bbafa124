"""Texts that are longer than a value of the state may be (1 MiB of JSON): KEY/0, KEY/1 and so on."""

from itertools import count

from casemate.guest import State

PIECE = 128 * 1024
"""Characters of a piece. One takes six bytes of JSON at most ("\\u0001")."""


def write(state: State, key: str, text: str) -> None:
    """Writes a text where there is none."""
    for number, start in enumerate(range(0, len(text), PIECE)):
        state.put(f"{key}/{number}", text[start : start + PIECE])


def read(state: State, key: str) -> str:
    """The text; "" where there is none."""
    pieces: list[str] = []
    for number in count():
        piece = state.get(f"{key}/{number}")
        if piece is None:
            break
        pieces.append(piece)
    return "".join(pieces)


def drop(state: State, key: str) -> None:
    """Deletes a text."""
    for number in count():
        if not state.delete(f"{key}/{number}"):
            return
