import subprocess
import sys

import pytest

PROGRAM = """
import json, sqlite3, sys
from pathlib import Path
from casemate.process.memory import give_back_memory

def resident():
    fields = dict(line.split()[:2] for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Rss:"]) - int(fields["Anonymous:"])

before = resident()
give_back_memory()
after = resident()
rows = sqlite3.connect(":memory:")
assert rows.execute("SELECT 6 * 7").fetchone() == (42,)
assert json.loads("[1.5]") == [1.5]
import decimal, hashlib
assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442")
assert decimal.Decimal("0.1") * 3 == decimal.Decimal("0.3")
print(before, after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_what_a_program_file_takes_is_given_back_and_comes_back_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(int, done.stdout.split())
    assert after < before / 2
