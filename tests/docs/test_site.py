"""`make docs`: the site has every page and every public name, and fetches nothing from anywhere."""

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.site.npm import installed
from scripts.site.python_reference import PACKAGES, path_of
from scripts.site.rest_reference import PATH, openapi
from tests.rigs.docs.markdown import PAGES, ROOT, blocks

TIMEOUT = 120.0
DOCS = ROOT / "docs"


def _build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", root / "mkdocs.yml", "--site-dir", site],
        cwd=root,
        capture_output=True,
        timeout=TIMEOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The site, and what the build said: of a copy with a link that leads nowhere, which fails it when all is made."""
    folder = tmp_path_factory.mktemp("documentation")
    for name in ("mkdocs.yml", "docs", "scripts", "src"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    with (folder / "docs" / "tour.md").open("a") as page:
        page.write("\n[nowhere](no-such-page.md)\n")
    return folder / "site", _build(folder, folder / "site")


@pytest.fixture
def site(built: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    return built[0]


def _html(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}


def _page(markdown: str) -> str:
    """Where a page is in the site."""
    return re.sub(r"(README)?\.md$", lambda found: "index.html" if found[1] else ".html", markdown)


def test_every_document_is_a_page_and_in_the_navigation(site: Path) -> None:
    wanted = {_page(page.relative_to(DOCS).as_posix()) for page in PAGES if page.is_relative_to(DOCS)}
    wanted |= {_page(path_of(package)) for package in PACKAGES} | {_page(PATH)}
    pages = _html(site)
    assert set(pages) == wanted | {"404.html"}
    navigation = re.findall(r'<a href="([^"#]+)" class="md-nav__link', pages["404.html"])
    assert {link.removeprefix("/") for link in navigation} >= wanted - {"index.html"}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for name, text in _html(site).items():
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)", text)
        fetched += re.findall(r"<link[^>]*rel=\"(?:stylesheet|preconnect|icon|preload)\"[^>]*>", text)
        assert fetched, name
        assert not [link for link in fetched if "//" in link.replace("https://example", "")], name
        for link in fetched:
            if not link.startswith("<") and name != "404.html":
                assert ((site / name).parent / link).resolve().is_file(), (name, link)


def _public(package: str) -> list[str]:
    """What `__all__` names; where there is none, the classes and functions defined there without an underscore."""
    members = vars(importlib.import_module(package))
    own = {name: value for name, value in members.items() if getattr(value, "__module__", "") == package}
    own = {name: value for name, value in own.items() if inspect.isclass(value) or inspect.isfunction(value)}
    found = members.get("__all__", [name for name in own if name[0] != "_"])
    assert found, package
    return list(found)


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    for package in PACKAGES:
        text = (site / _page(path_of(package))).read_text()
        for name in _public(package):
            assert f'id="{package}.{name}"' in text, (package, name)


def test_every_operation_and_document_of_the_gateway_is_in_the_reference(site: Path) -> None:
    text = (site / _page(PATH)).read_text()
    document = openapi()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in text, (method, path)
    for name in document["components"]["schemas"]:
        assert f'id="{name.lower()}"' in text, name


def test_what_is_written_can_be_searched_for(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    for words in ("MRENCLAVE", "appraise_answer", "casemate run"):
        assert any(words in entry["text"] or words in entry["title"] for entry in index["docs"]), words


def test_a_link_that_leads_nowhere_fails_the_build_and_nothing_else_does(
    built: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    code, said = built[1].returncode, built[1].stderr
    (warning,) = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert "no-such-page.md" in warning
    assert code != 0


DIAGRAMS = [block.text for page in PAGES for block in blocks(page.read_text()) if block.language == "mermaid"]
PARSE = """
const [library, text] = process.argv.slice(1);
require("vm").runInThisContext(require("fs").readFileSync(library, "utf8"));
mermaid.parse(text).catch((error) => {
  if (/addHook/.test(error)) return;  // what cleans the labels needs a browser: by then the grammar has had its say
  console.error(String(error));
  process.exit(1);
});
"""


def _parsed(text: str) -> int:
    node = shutil.which("node")
    assert node is not None, "node is missing: run scripts/system-packages"
    library = (
        installed(ROOT / "scripts" / "site") / "node_modules" / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js"
    )
    return subprocess.run([node, "-e", PARSE, library, text], check=False, timeout=TIMEOUT).returncode


@pytest.mark.parametrize("text", DIAGRAMS)
def test_what_draws_the_diagrams_can_read_them(text: str) -> None:
    assert _parsed(text) == 0


def test_a_diagram_that_is_no_diagram_is_noticed() -> None:
    assert _parsed("flowchart LR\n  a -->-> [\n") != 0
