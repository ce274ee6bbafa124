"""Log lines that strangers' words cannot forge: one event is one line, and what follows it is indented."""

import logging


def one_line(text: str) -> str:
    """``text`` with everything that is not printable as an escape: line ends, terminal controls, directional marks."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line; the lines of a trace follow it, each indented, so none looks like an event."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line itself."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """A trace, whose last line may quote a stranger."""
        trace = super().formatException(ei)  # type: ignore[arg-type] # typed with a private alias there
        return "\n".join(f"    {one_line(line)}" for line in trace.split("\n"))
