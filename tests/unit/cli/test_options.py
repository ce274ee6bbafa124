import pytest
from typer.testing import CliRunner

from casemate.cli.app import app


@pytest.mark.parametrize("command", [["stop"], ["vm", "pause"]])
@pytest.mark.parametrize("number", ["+1", " 1", "1_0", "01", "1.0", "\uff11", str(2**53), ""])
def test_a_number_that_names_something_has_one_form(command: list[str], number: str) -> None:
    result = CliRunner().invoke(app, [*command, number, "--state", "/nowhere"])
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.replace("│", " ").split())
    assert "is no number in decimal digits alone" in said or "is no enclave's number, and no function's name" in said
