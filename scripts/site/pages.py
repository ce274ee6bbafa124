"""What the site has beside the files of docs/: navigation, the API references, and what draws the diagrams.

MkDocs calls these functions (its "hooks"); mkdocs.yml names this file.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from scripts.site.npm import installed
from scripts.site.python_reference import PACKAGES, path_of, python_page
from scripts.site.rest_reference import PATH, TITLE, openapi, rest_page

HERE = Path(__file__).parent
MERMAID = "assets/mermaid.js"
SCRIPTS = {MERMAID: "@mermaid-js/tiny/dist/mermaid.tiny.js", "assets/iframe-worker.js": "iframe-worker/shim/index.js"}
"""What the theme would fetch from a content network: path in the site to path in the npm packages."""
_SECTION = re.compile(r"^\*\*(.+?)\*\*$", re.MULTILINE)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)]+)\) \|", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Navigation: the index's sections and pages, and the references."""
    index = (Path(config.docs_dir) / "README.md").read_text()
    _, *parts = _SECTION.split(index)
    sections = {title: _ROW.findall(rows) for title, rows in zip(parts[::2], parts[1::2], strict=True)}
    references = [{TITLE: PATH}, *({title: path_of(package)} for package, title in PACKAGES.items())]
    config.nav = [
        {"Home": "README.md"},
        *({title: [{name: path} for name, path in rows]} for title, rows in sections.items()),
        {"API reference": references},
    ]
    config.extra_javascript.append(MERMAID)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The files that are made."""
    modules = installed(HERE) / "node_modules"
    for path, source in SCRIPTS.items():
        files.append(File.generated(config, path, abs_src_path=str(modules / source)))
    for package in PACKAGES:
        files.append(File.generated(config, path_of(package), content=python_page(package)))
    files.append(File.generated(config, PATH, content=rest_page(openapi())))
    return files
