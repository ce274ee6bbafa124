"""The process of one VM.

``python -I -m casemate.vm --chip-fd N --hypervisor-fd N --dram-fd N``

Started by the chip, which hands it three descriptors: an end of its own link, plain frames of the messages in
:mod:`casemate.wire.messages.vm.silicon`, strictly in turns; an end of the hypervisor's, numbered calls of those in
:mod:`casemate.wire.messages.vm.hypervisor`; and the DRAM, a file. It ends when the chip's link closes. Exit status 0,
or 2 for a wrong command line.
"""

import sys

from casemate.vm.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
