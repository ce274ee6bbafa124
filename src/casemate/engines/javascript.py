"""JavaScript on V8, in Deno's own binary: no permissions, one bootstrap script, nothing read from disk.

The bootstrap comes as a ``data:`` URL, so the engine needs no file but itself. Code is not made from strings
(``eval``, ``Function``), Node's built-in modules are mapped to nothing, and no import goes to network or disk.

What runs is what was measured, if this package built the image: it refuses dynamic imports. The engine loads ``data:``
URLs, which cannot be mapped away, so an image that other tools built may import code that it makes from what it is
given, with the rights that its own code has. Its developer chose that, and the measurement covers the choice.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Final

from casemate.engines.command import Command, GuestProgram
from casemate.engines.frames import head_and_text
from casemate.engines.questions import MAX_LISTED, MAX_SEALED_TEXT
from casemate.wire.json_text import encode_json
from casemate.wire.state_changes import MAX_KEY, MAX_VALUE

YOUNG_GENERATION_MIB = 8
"""V8's semi-space: three of them are in use besides the old generation."""


class JavaScript:
    """The engine named ``javascript`` in manifests."""

    name: Final = "javascript"

    def command(self, binary: str, *, memory_mib: int) -> Command:
        """Deno with no permission, no configuration, no cache and no helper threads of V8's."""
        v8 = (
            "--single-threaded",
            f"--max-old-space-size={memory_mib}",
            f"--max-semi-space-size={min(YOUNG_GENERATION_MIB, max(1, memory_mib // 8))}",
            "--disallow-code-generation-from-strings",
        )
        arguments = (
            binary,
            "run",
            "--quiet",
            "--no-prompt",
            "--no-remote",
            "--no-npm",
            "--no-config",
            "--no-lock",
            "--no-code-cache",
            "--deny-import",
            f"--import-map={_import_map()}",
            f"--v8-flags={','.join(v8)}",
            _bootstrap(),
        )
        environment = {
            "DENO_DIR": "/dev/null/none",  # no folder can be made below a device, so no cache is written
            "HOME": "/nonexistent",  # where npm's settings are looked for
            "DENO_NO_UPDATE_CHECK": "1",
            "NO_COLOR": "1",
            "LC_ALL": "C",
            "TZ": "UTC",
        }
        return Command(arguments, environment)

    def program(self, program: GuestProgram) -> bytes:
        """All sources one after another, and a head that says where each ends and where its imports stand."""
        places = {module.path: number for number, module in enumerate(program.modules)}
        modules = [
            {
                "path": module.path,
                "size": len(module.source),
                "links": [[link.start, link.end, places[link.target]] for link in module.links],
            }
            for module in program.modules
        ]
        head = {
            "modules": modules,
            "entries": list(program.entries),
            "streams": list(program.streams),
            "outputLimit": program.output_limit,
            "ocallLimit": program.ocall_limit,
            "valueLimit": MAX_VALUE,
            "keyLimit": MAX_KEY,
            "sealedLimit": MAX_SEALED_TEXT,
            "listLimit": MAX_LISTED,
        }
        return head_and_text(head, b"".join(module.source for module in program.modules))


def node_modules() -> tuple[str, ...]:
    """Names of Node's built-in modules that Deno brings along, without ``node:``: ``module.builtinModules`` of 2.9.8.

    They stand in a file of their own, which is no code of an enclave's: a new engine changes its own digest alone.
    """
    return tuple(Path(__file__).with_name("node_modules.txt").read_text("ascii").split())


@cache
def _bootstrap() -> str:
    return _data_url("text/javascript", Path(__file__).with_name("bootstrap.js").read_bytes())


@cache
def _import_map() -> str:
    """Every name of a built-in module leads to a scheme that nothing can load."""
    names = [spelled for name in node_modules() for spelled in (name, f"node:{name}")]
    imports = {**dict.fromkeys(names, "refused:import"), "file:///": "refused:///"}
    return _data_url("application/json", encode_json({"imports": imports}))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
