"""The client leaves the table of modules alone: what others have imported, and what they will import, stays theirs."""

import importlib
import json
import subprocess
import sys

USE = """
import json, sys
import asyncio, socket, ssl, typing, importlib.util
before = {name: id(module) for name, module in sys.modules.items()}
from casemate.client import aio, connect
from casemate.client.errors import NoHostError

async def use():
    async with await aio.connect("http://127.0.0.1:1") as client:
        await client.enclaves()

for attempt in (lambda: connect("http://127.0.0.1:1").enclaves(), lambda: asyncio.run(use())):
    try:
        attempt()
    except NoHostError:
        continue
    raise SystemExit("somebody listens at port 1")
json.dump({
    "none": [name for name, module in sys.modules.items() if module is None],
    "replaced": [name for name, known in before.items() if id(sys.modules.get(name)) != known],
    "used": "httpcore" in sys.modules,
}, sys.stdout)
"""


def test_importing_and_using_it_changes_nobodys_modules() -> None:
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {"none": [], "replaced": [], "used": True}


def test_what_httpcore_looks_for_at_every_lock_is_installed() -> None:
    """Python does not remember what it has not found: a look for it would take as long as the rest of a call."""
    importlib.import_module("sniffio")
