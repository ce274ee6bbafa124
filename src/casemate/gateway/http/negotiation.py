"""Which of the forms of an answer a client takes (RFC 9110, section 12.5.1)."""

from starlette.requests import Request

from casemate.gateway.http.problems import ProblemError, Trouble


def negotiated(request: Request, *offered: str) -> str:
    """The first of the ``offered`` types that Accept names. Weights are passed over: there is nothing to weigh.

    Raises:
        ProblemError: it names none of them.
    """
    accept = request.headers.get("accept", "*/*")
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    for offer in offered:
        if types & {offer, "*/*", f"{offer.partition('/')[0]}/*"}:
            return offer
    raise ProblemError(Trouble.NOT_ACCEPTABLE, f"Accept is {accept[:80]!r}, this comes as {' or '.join(offered)}")
