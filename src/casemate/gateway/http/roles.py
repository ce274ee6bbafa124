"""The role that a route needs: declared in the OpenAPI document, enforced from there."""

from typing import Any

from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.wire.protocol.access_tokens import AccessToken, Role

SCHEME = "token"
"""The security scheme's name in the document."""


def wants(role: Role) -> dict[str, Any]:
    """The declaration of a route that needs a token of that role or a higher one."""
    return {"security": [{SCHEME: [role.value]}]}


WANTS_NO_TOKEN: dict[str, Any] = {"security": []}
"""The declaration of a route that is open to all; the edge has to let it through, too."""


def needed_role(declaration: dict[str, Any] | None) -> Role | None:
    """The role in a declaration, None if the route is open; TypeError if it declares nothing, which is a defect."""
    if declaration is None or "security" not in declaration:
        raise TypeError("a route without a declared role")
    wanted = declaration["security"]
    return Role(wanted[0][SCHEME][0]) if wanted else None


def check_role(token: AccessToken, needed: Role) -> None:
    """Refuses a token whose role is lower than the route needs."""
    if not token.role.allows(needed):
        said = f'Bearer realm="casemate", error="insufficient_scope", scope="{needed}"'
        raise ProblemError(
            Trouble.ROLE_REFUSED,
            f"token {token.name} has the role {token.role}, this needs {needed}",
            headers={"WWW-Authenticate": said},
        )
