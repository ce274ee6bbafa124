"""Files for the authors of JavaScript functions: types for their editors, and what their tests import."""

from pathlib import Path
from typing import Final

_HERE = Path(__file__).parent

IMPORT_MAP: Final = _HERE / "import_map.json"
"""For ``deno test --import-map``: it leads ``casemate/testing`` to :file:`testing.js`, which has ``FakeEnclave``."""

TYPES: Final = _HERE / "casemate.d.ts"
"""Declares the global namespace ``Casemate``: what a function is given."""
