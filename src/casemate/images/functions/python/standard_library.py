"""The modules that a Python guest can import beside its own: by name, without importing any of them.

A guest opens no file, so what it can import is what its process has imported before it was confined: see ``prepare`` of
the engine's bootstrap, with which a test compares the list below. The names are those of the interpreter that builds.
The runtime's may have another minor version and a few more or fewer; such an image fails when it is launched.
"""

import sys
from typing import Final

ABSENT: Final = frozenset(
    """
    _aix_support _bootsubprocess _crypt _curses _curses_panel _dbm _gdbm _hashlib _lsprof _msi _osx_support
    _overlapped _posixshmem _py_abc _scproxy _ssl _threading_local _tkinter _tokenize _winapi aifc antigravity
    asynchat asyncore audioop cProfile cgi cgitb chunk compileall crypt curses dbm distutils ensurepip faulthandler
    ftplib getpass idlelib imaplib imghdr imp lib2to3 mailbox mailcap modulefinder msilib msvcrt netrc nis nntplib
    nt nturl2path ossaudiodev pipes poplib profile pstats pty py_compile pyclbr pydoc pydoc_data readline
    rlcompleter shelve site smtpd smtplib sndhdr spwd sre_compile sre_constants sre_parse ssl sunau syslog tabnanny
    telnetlib termios this tkinter trace tty turtle turtledemo uu venv webbrowser winreg winsound wsgiref xdrlib
    xmlrpc zipapp http.cookiejar http.server multiprocessing.dummy multiprocessing.managers multiprocessing.pool
    multiprocessing.shared_memory urllib.robotparser
    """.split()  # noqa: SIM905 - a name a line would fill three screens
)
"""Modules of the standard library that are not there inside: user interfaces, clients and servers, tools, what Python
3.13 has no longer, and what would load libraries that nobody measures (``ssl``)."""
BROUGHT_ALONG: Final = frozenset({"cryptography"})
"""Packages of the runtime that guests may use."""
STUBS: Final = "casemate.guest"
"""The one module of Casemate's that guests may import: types for editors and checkers."""


def is_standard(name: str) -> bool:
    """Whether a top-level module is the standard library's, there or absent."""
    return name in sys.stdlib_module_names


def is_absent(name: str) -> bool:
    """Whether a module of the standard library, or the package that it lies in, is not there inside."""
    return is_standard(name.partition(".")[0]) and not ABSENT.isdisjoint({name, name.partition(".")[0]})


def is_there(name: str) -> bool:
    """Whether a guest may find a module that is not its own."""
    first = name.partition(".")[0]
    return (is_standard(first) and not is_absent(name)) or first in BROUGHT_ALONG
