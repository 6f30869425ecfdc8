"""Numbers out of range are refused beside their flag, in the words that main.py has for its settings."""

from __future__ import annotations

import pytest

from tools.running.command_line import Parser, SettingsError
from tools.running.flag_types import seconds, share, whole


@pytest.fixture
def parser() -> Parser:
    parser = Parser("x")
    parser.add_argument("--num", type=whole(1))
    parser.add_argument("--bits", type=whole(0, 31))
    parser.add_argument("--score", type=share)
    parser.add_argument("--every", type=seconds)
    return parser


@pytest.mark.parametrize(
    ("flag", "value", "number"),
    [("num", "7", 7), ("bits", "0", 0), ("bits", "31", 31), ("score", "1", 1.0), ("every", "0", 0.0)],
)
def test_a_number_in_range_is_taken(parser: Parser, flag: str, value: str, number: float) -> None:
    assert getattr(parser.parse_args([f"--{flag}", value]), flag) == number


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("num", "0", "--num is 0; it must be at least 1; python -m tools.x --help lists all flags"),
        ("num", "1.5", "--num is '1.5'; it must be a whole number"),
        ("bits", "-1", "--bits is -1; it must lie between 0 and 31"),
        ("bits", "32", "--bits is 32; it must lie between 0 and 31"),
        ("score", "nan", "--score is nan; it must lie between 0 and 1"),
        ("score", "1.01", "--score is 1.01; it must lie between 0 and 1"),
        ("score", "half", "--score is 'half'; it must be a number"),
        ("every", "-0.1", "--every is -0.1; it must be a time in seconds, 0 or more"),
        ("every", "nan", "--every is nan; it must be a time in seconds, 0 or more"),
        ("every", "inf", "--every is inf; it must be a time in seconds, 0 or more"),
        ("every", "often", "--every is 'often'; it must be a number"),
    ],
)
def test_a_number_out_of_range_is_told_with_its_flag(parser: Parser, flag: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        parser.parse_args([f"--{flag}", value])
    assert str(error.value).startswith(sentence)
