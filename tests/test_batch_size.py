"""--batch_size auto: the search is exact to a sixteenth, and without a GPU it is a sentence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import main
from models import CTRBOX, IMAGENET
from tests.short_runs import LISTS, arguments
from tests.test_ctrbox import OddBackbone
from tools.architecture import Architecture
from tools.engine import Engine
from tools.setting_flags import parse_settings
from tools.training.batch_size import MOST, RESERVE, _try_step, largest_that_fits
from tools.training.run_description import is_batch_small_for_gpu


@settings(deadline=None)
@given(limit=st.integers(0, 2000), most=st.integers(1, MOST))
def test_it_finds_the_largest_less_a_reserve(limit: int, most: int):
    tried = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= limit

    found = largest_that_fits(fits, most)
    assert found <= min(limit, most)
    assert max(tried, default=0) <= most  # more pictures than there are need no trial
    assert len(tried) <= 2 * 11 + 1
    if limit >= most:
        assert found >= most * RESERVE * 15 / 16 - 1
    elif limit:
        assert found >= max(1, int((limit - max(1, limit // 16)) * RESERVE))
    else:
        assert found == 0


@pytest.mark.parametrize(
    ("limit", "most", "found"), [(0, 8, 0), (1, 8, 1), (2, 8, 1), (10, 100, 9), (100, 8, 8), (3, 1, 1)]
)
def test_small_numbers(limit: int, most: int, found: int):
    assert largest_that_fits(lambda number: number <= limit, most) == found


def test_auto_without_a_gpu_is_a_sentence(dota_folder, tmp_path, capsys):
    run = arguments(dota_folder(lists=LISTS), tmp_path / "run", "--batch_size", "auto", "--device", "cpu")
    assert main.main(run) == 2
    assert capsys.readouterr().err == "error: --batch_size auto needs a GPU, not cpu; give a number, such as 4\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags", [[], ["--recipe", "published"], ["--accumulate", "3", "--batch_size", "3"]])
def test_a_trial_is_a_whole_step_that_leaves_the_network(flags: list[str]):
    """The GPU's part of it runs on the CPU as well."""
    config = parse_settings([*flags, "--precision", "fp32", "--device", "cpu"])
    network = CTRBOX(2, OddBackbone(), config.head_norm)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    architecture = Architecture("odd", config.head_norm, ("car", "boat"), (64, 64), IMAGENET)
    _try_step(config, Engine("cpu"), network, architecture, batch_size=3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("device", "flags", "is_small"),
    [
        ("cuda", [], True),
        ("cpu", [], False),
        ("cuda", ["--batch_size", "2"], False),
        ("cuda", ["--batch_size", "8"], False),
    ],
)
def test_the_batch_that_was_chosen_on_a_cpu_is_told_of_on_a_gpu(device: str, flags: list[str], is_small: bool):
    assert is_batch_small_for_gpu(parse_settings(flags), torch.device(device)) == is_small
