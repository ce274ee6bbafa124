"""Imports all that a program may import besides its own files, since a guest opens no file."""

import importlib
import os
import pkgutil
import sys
import time
import warnings
from types import ModuleType

from casemate.engines.python.bootstrap import stand_ins

MODULES = """
    abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar cmath cmd code codecs codeop
    collections collections.abc colorsys concurrent.futures concurrent.futures.thread configparser contextlib
    contextvars copy copyreg csv ctypes ctypes.util dataclasses datetime decimal difflib dis doctest email
    email.charset email.encoders email.errors email.generator email.header email.headerregistry email.iterators
    email.message email.mime.application email.mime.audio email.mime.base email.mime.image email.mime.message
    email.mime.multipart email.mime.nonmultipart email.mime.text email.parser email.policy email.utils enum errno
    fcntl filecmp fileinput fnmatch fractions functools gc genericpath getopt gettext glob graphlib gzip hashlib
    heapq hmac html html.entities html.parser http http.client http.cookies importlib importlib.abc
    importlib.machinery importlib.metadata importlib.resources importlib.resources.abc importlib.util inspect io
    ipaddress itertools json json.tool keyword linecache locale logging logging.config logging.handlers lzma marshal
    math mimetypes mmap multiprocessing ntpath numbers opcode operator optparse os os.path pathlib pickle
    pickletools pkgutil platform plistlib posixpath pprint queue quopri random re reprlib resource runpy sched
    secrets select selectors shlex shutil signal socket sqlite3 stat statistics string stringprep struct subprocess
    symtable sys sysconfig tarfile tempfile textwrap threading time timeit token tokenize tomllib traceback
    tracemalloc types typing unicodedata unittest unittest.mock urllib urllib.error urllib.parse urllib.request uuid
    warnings wave weakref xml.dom xml.dom.minidom xml.dom.pulldom xml.etree.ElementTree xml.parsers.expat xml.sax
    xml.sax.handler xml.sax.saxutils xml.sax.xmlreader zipfile zlib zoneinfo
""".split()  # noqa: SIM905 - a name a line would fill three screens
"""Public modules of the standard library that make sense inside. What Python 3.13 has no longer is left out, so that a
program finds the same under each version; so are user interfaces, servers and clients of other protocols, and tools."""

HELPERS = """
    _strptime _pydecimal _pydatetime _pyio _datetime _decimal _elementtree _uuid asyncio.mixins sqlite3.dump
    unittest.async_case xml.dom.expatbuilder xml.sax.expatreader
""".split()  # noqa: SIM905 - as above
"""Modules that public ones import when they are first used."""

FOLDERS = ("encodings", "json", "asyncio", "concurrent.futures", "importlib.resources")
"""Packages that are imported whole."""

CRYPTOGRAPHY = "cryptography"
"""A package of the measured runtime that is imported with all that lies in it."""

_ELSEWHERE = frozenset({"encodings.cp65001", "encodings.mbcs", "encodings.oem", "json.__main__", "asyncio.__main__"})


def prepare() -> None:
    """Imports what a program may import, as far as this interpreter has it. To be called once, before confinement.

    Time is UTC from here on: which time zone the machine has is none of a guest's business, and lies in a file.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.environ["PYTHONTZPATH"] = ""  # or zoneinfo looks for how Python was built, which is no part of the runtime
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that will be gone one day
        for name in (*MODULES, *HELPERS, "casemate.guest", CRYPTOGRAPHY):
            _import(name)
        for folder in FOLDERS:
            package = _import(folder)
            for found in pkgutil.iter_modules(package.__path__, f"{folder}.") if package else ():
                if found.name not in _ELSEWHERE:
                    _import(found.name)
        cryptography = sys.modules.get(CRYPTOGRAPHY)
        for found in pkgutil.walk_packages(cryptography.__path__, f"{CRYPTOGRAPHY}.") if cryptography else ():
            _import(found.name)
    "".encode("idna")  # each loads a part of its own when it is first used
    time.strptime("2000", "%Y")
    stand_ins.install(sys.modules.get("sqlite3"))


def missing_words(name: str) -> str:
    """Words for a module that a program cannot import."""
    top = name.partition(".")[0]
    if name in sys.modules:
        return f"{name} is there, and cannot be loaded again: nothing is read from a disk inside an enclave"
    if top in sys.stdlib_module_names:
        return f"{name} is a module of the standard library that is not there inside an enclave"
    return (
        f"there is no module {name} in this enclave: a function has its own files below guest/, most of the standard "
        "library, and nothing that would be read from a disk. Import at the top of a module, so that what is missing "
        "shows when the function is loaded"
    )


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError):  # not of this version, or its library is not part of the runtime
        return None
