"""docs/gateway.md names every code, with its status, and every route, with its role."""

import re
from pathlib import Path

from tests.rigs.docs.markdown import ROOT, table
from tests.rigs.gateway.front import close_all, front

from casemate.gateway.http.problems import STATUS

PAGE = (ROOT / "docs" / "gateway.md").read_text()


def test_every_code_is_explained_under_its_status() -> None:
    shown: dict[str, set[int]] = {}
    for codes, statuses, _ in table(PAGE, "code"):
        for code in re.findall(r"`([\w-]+)`", codes):
            assert code not in shown, code
            shown[code] = {int(status) for status in statuses.split(", ")}
    assert set(shown) == {str(code) for code in STATUS}
    assert all(STATUS[code] in shown[code] for code in STATUS)


def test_every_route_is_shown_with_its_role(tmp_path: Path) -> None:
    shown = {(row[0].strip("`"), row[1].strip("`")) for row in table(PAGE, "request")}
    gateway = front(tmp_path).gateway
    close_all()
    found = set()
    for path, operations in gateway.app.openapi()["paths"].items():
        for method, operation in operations.items():
            wants = operation["security"]
            found.add((f"{method.upper()} {path}", wants[0]["token"][0] if wants else "no token"))
    assert shown == found
