"""What a sampler can do with a space is said, or it is refused, when the study is read."""

from __future__ import annotations

import pytest

from tune_digits.errors import ConfigError
from tune_digits.space import sampler_limits
from tune_digits.study import Study, make_study, parse_yaml

BRANCHES = """
trial:
  augment: {rotate: {uniform: [0, 30]}, shift: {choice: [0, 0.1]}}
  optimizer:
    one_of:
      - {name: sgd, lr: {loguniform: [0.01, 1.0]}, momentum: {uniform: [0.8, 0.99]}}
      - {name: adamw, lr: {loguniform: [1e-4, 1e-2]}}
baseline: {optimizer.name: adamw}
"""


def study_of(text: str, sampler: str, installed: bool = True, **overrides: object) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler_limits, "find_spec", lambda name: object() if installed else None)
        return make_study(
            parse_yaml(text, "my.yaml"), "my.yaml", "my", {"search.sampler": sampler, **overrides}
        )


@pytest.mark.parametrize(
    ("sampler", "notes"),
    [
        ("tpe", ()),
        ("random", ()),
        *(
            (
                name,
                (
                    f"{name}: drawn at random, since only some configurations have them: optimizer.lr, "
                    "optimizer.momentum",
                ),
            )
            for name in ("gp", "nsga2")
        ),
        # those of the baseline's branch are in its sequence
        (
            "qmc",
            (
                "qmc: drawn at random, since only some configurations have them: optimizer.lr, optimizer.momentum",
            ),
        ),
        (
            "cmaes",
            (
                "cmaes: drawn at random, since only some configurations have them: optimizer.lr, optimizer.momentum",
                "cmaes: drawn at random, since they are choices and not numbers: augment.shift, optimizer.name",
            ),
        ),
    ],
)
def test_what_is_drawn_at_random_is_said(sampler: str, notes: tuple[str, ...]) -> None:
    said = study_of(BRANCHES, sampler).notes
    assert len(said) == len(notes)
    for line, expected in zip(said, notes, strict=True):
        assert line == expected


def test_a_qmc_sequence_has_what_the_baseline_has() -> None:
    baseline = BRANCHES.replace("adamw}", "sgd}")
    (said,) = study_of(baseline, "qmc").notes
    assert said.endswith("have them: optimizer.lr"), "of the branch of adamw"


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "qmc", "nsga2"])
def test_where_a_flag_keeps_one_branch_everything_is_modelled(sampler: str) -> None:
    plain = BRANCHES.replace("choice: [0, 0.1]", "uniform: [0, 0.1]")
    assert study_of(plain, sampler, **{"optimizer.name": "sgd"}).notes == ()


def test_cmaes_without_its_package_or_without_numbers_is_refused_in_words() -> None:
    with pytest.raises(
        ConfigError, match=r"--set search.sampler=cmaes: .* pip install 'tune_digits\[cmaes\]'"
    ):
        study_of(BRANCHES, "cmaes", installed=False)
    choices = BRANCHES.replace("uniform: [0, 30]", "choice: [0, 30]")
    with pytest.raises(ConfigError, match=r"no number is searched in every configuration .* such as tpe"):
        study_of(choices, "cmaes")
    with pytest.raises(ConfigError, match=r"searched: nothing"):
        study_of("{}", "cmaes")
