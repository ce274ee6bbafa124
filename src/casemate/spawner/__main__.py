"""``python -I -S -B -m casemate.spawner``: started by the chip, with the control socket as descriptor 3."""

from casemate.spawner.loop import import_enclave, run_process

if __name__ == "__main__":
    run_process(import_enclave)
