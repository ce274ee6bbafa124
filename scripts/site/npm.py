"""npm packages as a lock file has them, installed into the user's cache once for each content of their files."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

TIMEOUT = 300
"""Seconds for `npm ci`."""


class InstallError(Exception):
    """npm is missing, or did not install the packages."""


def installed(source: Path, *extra: str) -> Path:
    """The folder with node_modules for the package.json in ``source``; ``extra`` files of it are copied there, too.

    Raises:
        InstallError: npm is missing, or refuses.
    """
    files = [source / name for name in ("package.json", "package-lock.json", *extra)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "casemate" / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / digest
    with (cache / f"{digest}.lock").open("w") as lock:  # tests run in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path in files:
                shutil.copy(path, folder)
            _install(folder)
            (folder / ".complete").touch()
    return folder


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is missing: run scripts/system-packages, or install nodejs and npm")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=TIMEOUT)
    if done.returncode != 0:
        raise InstallError(f"npm ci failed: {done.stderr.decode(errors='replace')}")
