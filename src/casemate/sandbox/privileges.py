"""No new privileges: no execve gives this process or its children more rights than it has, as set-uid would."""

from casemate.sandbox import linux


def refuse_new_privileges() -> str:
    """Sets no_new_privs, for good."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    return ""
