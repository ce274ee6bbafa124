"""The manifest of a service, for enclaves in tests."""

from tests.rigs.channel.state import STATEFUL


def service(hooks: str = "[]", kind: str = "command") -> str:
    """The manifest of a service with a state, whose operation ``any`` is of that kind."""
    manifest = STATEFUL.replace('isolation = "shared"', 'isolation = "caller"')
    for entry in ("echo", "private", "number", "flow"):
        manifest = manifest.replace(f"[entry.{entry}]\n", f'[entry.{entry}]\nkind = "command"\n')
    manifest = manifest.replace("[entry.any]\n", f'[entry.any]\nkind = "{kind}"\n')
    return f'{manifest}\n[service]\nversion = "1.0.0"\nfamily = "custom"\ndescription = "A rig."\nhooks = {hooks}\n'
