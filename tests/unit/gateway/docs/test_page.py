from html.parser import HTMLParser

import pytest
from starlette.routing import Route
from tests.rigs.gateway.deployed import deployed, launched
from tests.rigs.gateway.front import Front, front, run

from casemate.gateway.docs.page import EXAMPLES, GROUPS, page
from casemate.gateway.docs.routes import document
from casemate.gateway.http.problems import MEDIA_TYPE

VOID = {"meta", "link", "br"}


class Balanced(HTMLParser):
    """Checks that every element ends where it has to, and gathers text and anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name == "href" and value and value.startswith("#"):
                self.links.add(value[1:])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    found = document(front(tmp_path_factory.mktemp("gateway")).gateway.app)
    return found, page(found)


def test_the_page_is_whole_and_every_link_leads_somewhere(shown: tuple[dict[str, object], str]) -> None:
    parser = Balanced()
    parser.feed(shown[1])
    assert parser.open == ["html", "body"][: len(parser.open)]
    assert parser.links <= parser.anchors
    assert "`" not in "".join(parser.text)
    assert "**" not in "".join(parser.text)


def test_every_operation_has_its_parameters_body_and_example(shown: tuple[dict[str, object], str]) -> None:
    found, text = shown
    paths: dict[str, dict[str, dict[str, object]]] = found["paths"]  # type: ignore[assignment]
    order = []
    for path, methods in paths.items():
        for method, operation in methods.items():
            section = text.split(f'<h3 id="{operation["operationId"]}">')[1].split("<h3")[0]
            assert f"{method.upper()} {path}" in section
            assert "<h4>Example</h4><pre>curl" in section
            assert "statuses of refusals</summary>" in section
            for parameter in operation.get("parameters", ()):  # type: ignore[attr-defined]
                assert f"<code>{parameter['name']}</code>" in section
            assert ("<h4>Body</h4>" in section) == ("requestBody" in operation)
            order.append((text.index(f'<h3 id="{operation["operationId"]}">'), operation["tags"][0]))  # type: ignore[index]
    tags = [tag for _, tag in sorted(order)]
    assert sorted(set(tags), key=tags.index) == [tag for tag, _ in GROUPS]


def test_every_example_is_a_body_that_is_taken(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
            tried = set()
            for path, methods in paths.items():
                for method, operation in methods.items():
                    if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                        continue
                    example = EXAMPLES[operation["operationId"]]
                    answer = await client.request(method, _filled(path), json=example)
                    assert answer.status_code < 400 or answer.json()["code"] != "request-refused", answer.text
                    tried.add(operation["operationId"])
            assert tried == set(EXAMPLES)

    run(work())


def _filled(path: str) -> str:
    return path.replace("{id}", "1").replace("{name}", "counter")


def test_the_way_in_leads_to_the_page(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get("/")
            assert (answer.status_code, answer.headers["location"]) == (307, "/docs")

    run(work())


def test_a_head_is_answered_as_a_get_wherever_there_is_one(gateway: Front) -> None:
    """RFC 9110, section 9.1: every server supports GET and HEAD. Streams are not opened for it."""
    paths = {
        route.path
        for route in gateway.gateway.app.router.routes
        if isinstance(route, Route) and "GET" in (route.methods or ())
    }
    assert len(paths) > 15

    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            await launched(client)
            image = next(iter(gateway.host.kept)).hex()
            for path in sorted(paths):
                url = path.replace("{id}", "1").replace("{image}", image)
                url += {"evidence": f"?nonce={'0a' * 32}", "memory": "?address=0x0"}.get(url.rpartition("/")[2], "")
                head = await client.head(url)
                assert head.content == b""
                if url.endswith("/events"):
                    assert head.headers["content-type"].startswith("text/event-stream")
                    assert "content-length" not in head.headers
                    continue
                whole = await client.get(url)
                assert head.status_code == whole.status_code, url
                changing = {"x-request-id"} | ({"content-length"} if url == "/metrics" else set())
                for name in whole.headers.keys() - changing:
                    assert head.headers[name] == whole.headers[name], (url, name)
            assert (await client.head("/nowhere")).status_code == 404
            refused = await client.head("/enclave/compute")
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
            assert refused.headers["content-type"] == MEDIA_TYPE

    run(work())
    assert {line["method"] for line in gateway.log()} == {"GET", "HEAD", "POST"}
    assert ("HEAD", "/v1/events", 200) in [(line["method"], line["route"], line["status"]) for line in gateway.log()]
