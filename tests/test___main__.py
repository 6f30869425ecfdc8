"""What `python -m tools` says, and that it takes no work to be done for done."""

from __future__ import annotations

import pytest

from tools.__main__ import commands, main


@pytest.mark.slow
def test_it_lists_the_commands(capsys) -> None:
    assert main([]) == main(["--help"]) == 0
    said = capsys.readouterr().out
    assert {"check_data", "export_onnx"} <= commands().keys()
    assert all(name in said for name in commands())


def test_a_command_after_a_blank_is_an_error_that_names_the_right_one(capsys) -> None:
    """`python -m tools check_data DIR` printed the list and ended with 0, as if the data had been checked."""
    assert main(["check_data", "data"]) == 2
    assert "did you mean python -m tools.check_data?" in capsys.readouterr().err
    assert main(["chek"]) == 2
    assert "python -m tools, which lists the commands" in capsys.readouterr().err
