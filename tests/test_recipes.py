"""Recipes: ours is the defaults, the published one is the paper's, and flags win over both."""

from __future__ import annotations

import pytest

from tools.config import Config
from tools.recipes import RECIPES
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings


def test_the_default_recipe_is_the_defaults():
    assert parse_settings([]) == Config()
    assert not RECIPES["default"]


def test_the_default_recipe_is_what_was_measured():
    """tools/recipes.md and the tables of README.md are of these numbers; whoever changes one measures anew."""
    config = Config()
    assert (config.optimizer, config.init_lr, config.schedule, config.warmup) == ("adamw", 3e-4, "cosine", 0.05)
    assert (config.weight_decay, config.clip_norm, config.ema) == (0.01, 35.0, 0.998)
    assert (config.batch_size, config.accumulate, config.backbone_lr_scale) == (2, 1, 1.0)
    assert (config.positive_radius, config.box_weight, config.vector_beta) == (1, 1.0, 0.1)
    assert (config.vector_weight, config.theta_weight, config.rotated_weight) == (0.5, 0.25, 4.0)
    assert config.theta_rule == "better"
    assert (config.augment_scale, config.augment_quarter, config.augment_rotate) == ((0.85, 1.18), False, 0.0)
    assert config.augment_mosaic == 0.0
    assert (config.neck, config.head_width, config.head_norm) == ("combination", 256, "layer")
    assert config.sparse_heads


def test_the_published_recipe_is_the_papers():
    """Yi et al., WACV 2021, section 4.2: Adam, 1.25e-4, x0.96 an epoch; the batch norm is its README's advice."""
    config = parse_settings(["--recipe", "published"])
    assert (config.optimizer, config.init_lr, config.schedule, config.lr_decay) == (
        "adam",
        1.25e-4,
        "exponential",
        0.96,
    )
    assert (config.warmup, config.weight_decay, config.clip_norm, config.ema) == (0.0, 0.0, 0.0, 0.0)
    assert (config.positive_radius, config.box_weight, config.vector_beta) == (0, 0.0, 1.0)
    assert (config.vector_weight, config.theta_weight, config.rotated_weight) == (1.0, 1.0, 1.0)
    assert config.theta_rule == "tilt"
    assert (config.augment_scale, config.augment_quarter, config.augment_rotate) == ((0.9, 1.1), False, 0.0)
    assert config.head_norm == "batch"
    assert not config.sparse_heads


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_sets_known_settings_of_the_right_kind(name: str):
    defaults = Config()
    for key, value in RECIPES[name].items():
        assert type(value) is type(getattr(defaults, key)), key
    assert parse_settings(["--recipe", name]).recipe == name


def test_flags_and_files_win_over_the_recipe(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('recipe = "published"\nclip_norm = 5\n', encoding="utf-8")
    config = parse_settings(["--config", str(file), "--init_lr", "0.5"])
    assert (config.init_lr, config.clip_norm, config.optimizer) == (0.5, 5.0, "adam")
    assert config.explicit == {"recipe", "clip_norm", "init_lr"}


def test_an_unknown_recipe_is_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match="invalid choice: 'best'"):
        parse_settings(["--recipe", "best"])
    (tmp_path / "run.toml").write_text('recipe = "best"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="--recipe is 'best'; it can be default, published"):
        parse_settings(["--config", str(tmp_path / "run.toml")])
