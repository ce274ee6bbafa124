"""An enclave that is a service: its queries change nothing, and its calls know where they belong."""

from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import Rig
from tests.rigs.channel.state import STATEFUL, Host

from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json


def service(hooks: str = "[]", kind: str = "command") -> str:
    """The manifest of a service with a state, whose operation ``any`` is of that kind."""
    manifest = STATEFUL.replace('isolation = "shared"', 'isolation = "caller"')
    for entry in ("echo", "private", "number", "flow"):
        manifest = manifest.replace(f"[entry.{entry}]\n", f'[entry.{entry}]\nkind = "command"\n')
    manifest = manifest.replace("[entry.any]\n", f'[entry.any]\nkind = "{kind}"\n')
    return f'{manifest}\n[service]\nversion = "1.0.0"\nfamily = "custom"\ndescription = "A rig."\nhooks = {hooks}\n'


WRITES = (
    ({"do": "put", "key": "k"}, b"1"),
    ({"do": "delete", "key": "k"}, b""),
    ({"do": "compare-and-set", "key": "k", "expected": None, "value": 1}, b"1"),
)
READS = (({"do": "get", "key": "k"}, b""), ({"do": "list", "prefix": "", "after": None, "limit": 9}, b""))


def tries(called: Called) -> None:
    """Counts what of the state's questions is refused."""
    kinds = [called.wants(head, text)[0] for head, text in (*WRITES, *READS)]
    called.returns(encode_json(kinds.count(FrameKind.REFUSAL)))


def test_a_query_reads_and_does_not_write_however_often_it_tries() -> None:
    with Rig(manifest=service(kind="query"), script=tries) as rig:
        host, session = Host(rig), rig.attest()
        result = host.call(session)
        assert result.value == len(WRITES)
        assert result.receipt.receipt.state is not None
        assert result.receipt.receipt.state.epoch == 0


def test_a_query_is_told_to_become_a_command() -> None:
    words: list[bytes] = []

    def writes(called: Called) -> None:
        words.append(called.wants(*WRITES[0])[1])
        called.returns(b"1")

    with Rig(manifest=service(kind="query"), script=writes) as rig:
        assert Host(rig).call(rig.attest()).value == 1
    assert b'kind = \\"command\\"' in words[0]


def test_a_command_may_write() -> None:
    with Rig(manifest=service(), script=tries) as rig:
        assert Host(rig).call(rig.attest()).value == 0
