"""JavaScript on V8, in Deno's own binary: no permissions, one bootstrap script, nothing read from disk.

The bootstrap is the first code of every guest. It takes the two pipes, takes away all that a program must not reach,
then loads the program and serves its calls. Its source lies in the folder ``bootstrap``, a subject a file, and is given
to the engine as one ``data:`` URL, so the engine needs no file but itself. Code is not made from strings (``eval``,
``Function``), Node's built-in modules are mapped to nothing, and no import goes to network or disk.

JavaScript that runs is JavaScript that was measured, whoever built the image. By itself the engine would also import
``data:`` and ``blob:`` URLs, which a program can make from what it is given, and some of its own modules, which can run
such text. So sources are searched for all that could be an import which the image's index does not list; where there is
any, the bootstrap has the engine's loader ask it about each import. WebAssembly is not covered: a program may compile
what it is given.
"""

import base64
import re
from functools import cache
from pathlib import Path
from typing import Final

from casemate.engines.command import Command, GuestProgram, SourceModule
from casemate.engines.frames import head_and_text
from casemate.engines.questions.seals import MAX_SEALED_TEXT
from casemate.engines.questions.state import MAX_LISTED
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

BOOTSTRAP = (
    *("limits", "captured", "frames", "errors", "places", "modules", "calls", "refusals", "permissions"),
    *("loading", "state", "run", "others", "appraise", "keys", "streams"),
    *("console", "still_clock", "waiting", "lockdown", "serve"),
)
"""The parts of the bootstrap, in the order in which they are joined to one module. The order matters thus:
``captured`` precedes all that calls something, a class its use, and ``serve``, which never returns, is last."""

YOUNG_GENERATION_MIB = 8
"""V8's semi-space: three of them are in use besides the old generation."""


class JavaScript:
    """The engine named ``javascript`` in manifests."""

    name: Final = "javascript"
    copies_guests: Final = False
    tells_where: Final = False
    newcomers: Final = 12.0
    """An engine computes for 27 ms until it is warm."""

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
                "usesMeta": b"import" in module.source and b"meta" in module.source,
                "links": [
                    [link.start, link.end, places[link.target], *_place(module.source, link.start)]
                    for link in module.links
                ],
            }
            for module in program.modules
        ]
        head = {
            "modules": modules,
            "entries": list(program.entries),
            "streams": list(program.streams),
            "permissions": sorted(program.permissions),
            "errors": list(program.errors),
            "usesTemporal": any(b"Temporal" in module.source for module in program.modules),
            "debug": program.debug,
            "guarded": any(map(may_import_more, program.modules)),
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


def _place(source: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte as the engine counts them: from 1, the column in UTF-16 units."""
    line_start = source.rfind(b"\n", 0, offset) + 1
    before = source[line_start:offset].decode(errors="replace")
    wide = sum(char > "\uffff" for char in before)  # counted, for an enclave has no codec of UTF-16
    return source.count(b"\n", 0, offset) + 1, len(before) + wide + 1


_SPACE = rb"[\x09-\x0d\x20\x80-\xff]*"
_IMPORT = re.compile(rb"import(?!\.meta)" + _SPACE + rb"""[("'/.]|from""" + _SPACE + rb"""["'/]""")
"""All that an import can begin with (ECMA-262, 13.3.10, 16.2.2 and 16.2.3; ``import.defer``, ``import.source``): a
keyword has no escapes, and nothing but white space, of which bytes from 80 on may be part, and comments may follow."""


def may_import_more(module: SourceModule) -> bool:
    """Whether a source may hold an import that is not among its links.

    It looks at the text alone, so it also finds what stands in comments and strings; but what it does not find is not
    there, whatever the engine takes for a comment or the end of a line.
    """
    if module.path.endswith(".json"):  # which the engine takes for nothing else
        return False
    linked = {link.start for link in module.links}
    if any(found.end() - 1 not in linked for found in _IMPORT.finditer(module.source)):
        return True
    try:
        module.source.decode()
    except UnicodeDecodeError:  # the engine reads it in another encoding, perhaps
        return True
    return False


_UNREAD = re.compile(rb"^ +|(?:^|(?<= ))//.*$", re.MULTILINE)
"""Indents and comments of the bootstrap, which has no `` //`` in a string. Ends of lines stay, so that a place which
the engine names in the bootstrap is the place in the joined parts."""


@cache
def _bootstrap() -> str:
    """The bootstrap's URL, without what the engine would not read: each byte of it costs a guest 70 bytes of memory."""
    folder = Path(__file__).with_name("bootstrap")
    text = b"".join((folder / f"{part}.js").read_bytes() for part in BOOTSTRAP)
    return _data_url("text/javascript", _UNREAD.sub(b"", text))


@cache
def _import_map() -> str:
    """Every name of a built-in module leads to a scheme that nothing can load."""
    names = [spelled for name in node_modules() for spelled in (name, f"node:{name}")]
    imports = {**dict.fromkeys(names, "refused:import"), "file:///": "refused:///"}
    return _data_url("application/json", encode_json({"imports": imports}))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
