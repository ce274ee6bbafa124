import subprocess
import sys

PROGRAM = """
import sys
import casemate.gateway.__main__
import uvicorn, uvicorn.server
assert uvicorn.Server is uvicorn.server.Server
print("click" in sys.modules, "casemate.gateway.app" in sys.modules)
"""


def test_a_gateway_does_not_import_a_command_line() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]
