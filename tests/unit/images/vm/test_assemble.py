import subprocess
import sys

import pytest

from casemate.images.vm.assemble import AssemblyError, Source, assemble


def bytes_of(text: str) -> str:
    return assemble([Source("a.s", text)], symbols={}, base=0xFFFF_8000).content.hex()


def test_sources_share_labels_and_symbols() -> None:
    program = assemble(
        [Source("a.s", "start: jmp next"), Source("b.s", "nop\nnext: mov eax, MEANING")],
        symbols={"MEANING": 42},
        base=0xFFFF_8000,
    )
    assert program.content.hex() == "eb0190b82a000000"
    assert program.labels == {"start": 0xFFFF_8000, "next": 0xFFFF_8003}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mov eax, 12", "b80c000000"),
        ("mov eax, 0x12  # not 12", "b812000000"),
        (".equ SIZE, 16\nmov eax, SIZE", "b810000000"),
        (".equ A, 0x2A000\n.equ B, A+32\nmov rbx, [A+B]", "488b1c2520400500"),
        (".equ A, 0xE3\nmov eax, 0xC0000000+A", "b8e30000c0"),
        ("mov eax, LATER\n.equ LATER, (1+2)*4|1", "b80d000000"),
        ("text: lea rsi, [rip+text+8]", "488d3501000000"),
        (".macro twice value\nmov eax, \\value\nmov eax, \\value\n.endm\ntwice 10", "b80a000000" * 2),
        ('.asciz "12 # 13"', b"12 # 13\0".hex()),
        (".byte 10, 11", "0a0b"),
        ("xmm: aesenc xmm10, xmm11", "66450f38dcd3"),
    ],
)
def test_numbers_are_decimal_unless_they_say_otherwise(text: str, expected: str) -> None:
    assert bytes_of(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("nop\nnop\n  frobnicate eax\nnop\nalso wrong", 3, "mnemonic"),
        ("nop  # nowhere\n\njmp nowhere", 3, "'nowhere' is defined nowhere"),
        ("mov eax", 1, "operand"),
        ("mov eax, 1\nlabel: nop\nlabel: nop", 3, "redefined"),
        ("nop\n.asciz 'text'", 2, "double quotes"),
        ('.asciz "text', 1, "double quotes"),
        ("nop\nhere: mov eax, there+here\nthere: nop", 2, "a label can only be jumped to"),
        ("here: mov eax, here", 1, "a label can only be jumped to"),
        ("here: mov eax, [here]", 1, "a label can only be jumped to"),
        (".equ A, 1\n.equ A, 2", 2, "'A' is defined already"),
        (".equ A, B", 1, "'B' is no constant expression"),
        (".equ A, 1 +", 1, "no constant expression"),
        (".equ A, print(1)", 1, "no constant expression"),
        (".macro wrong\nbroken\n.endm\nnop\nwrong", 5, "mnemonic"),
    ],
)
def test_names_file_and_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(AssemblyError, match=reason) as caught:
        assemble([Source("good.s", "nop\nnop"), Source("bad.s", text)], symbols={}, base=0xFFFF_8000)
    assert (caught.value.name, caught.value.line) == ("bad.s", line)
    assert str(caught.value).startswith(f"bad.s:{line}: ")


def test_keystone_is_not_loaded_before_it_is_needed() -> None:
    script = "import sys, casemate.images.vm.builtin; sys.exit('keystone' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_refuses_a_base_at_which_keystone_gets_addresses_wrong() -> None:
    with pytest.raises(RuntimeError, match="the base is 0x1000"):
        assemble([Source("a.s", "nop")], symbols={}, base=0x1000)
