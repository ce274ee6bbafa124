"""The pages of the Python reference: what each package's ``__all__`` names, out of the docstrings."""

PACKAGES = {
    "casemate.client": "Python: the client",
    "casemate.client.aio": "Python: the client for asyncio",
    "casemate.verifier": "Python: the verifier",
}
"""Package to its title in the navigation."""


def path_of(package: str) -> str:
    """Where its page is, below the site's root."""
    return f"reference/{package}.md"


def python_page(package: str) -> str:
    """The page as Markdown for mkdocstrings."""
    return f"# `{package}`\n\n::: {package}\n    options:\n      show_root_heading: false\n"
