from casemate.client import check_receipt as check_receipt
from casemate.client import connect as connect
from casemate.client import local_machine as local_machine
from casemate.client import read_caller_key as read_caller_key
from casemate.client import running_machine as running_machine
from casemate.images.image import read_image as read_image
from casemate.verifier import parse_policy as parse_policy

__all__ = [
    "__version__",
    "check_receipt",
    "connect",
    "local_machine",
    "parse_policy",
    "read_caller_key",
    "read_image",
    "running_machine",
]
__version__: str
