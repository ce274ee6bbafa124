"""A byte string that does not show itself."""


class Secret:
    """Secret bytes: ``repr`` and ``str`` hide them, and :meth:`reveal` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value
