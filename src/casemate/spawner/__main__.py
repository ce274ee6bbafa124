"""``python -I -S -B -m casemate.spawner``: see :mod:`casemate.spawner.start`."""

from casemate.spawner.enclave_code import import_enclave
from casemate.spawner.start import run_process

if __name__ == "__main__":
    run_process(import_enclave)
