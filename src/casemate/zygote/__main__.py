"""``python -I -S -B -m casemate.zygote``: see :mod:`casemate.zygote.base`."""

from casemate.zygote.base import run_process

if __name__ == "__main__":
    run_process()
