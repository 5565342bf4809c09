"""What a configuration takes from elsewhere: a path, or the networks of another run's folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from tune_digits.config.part import Part


class SameFolds(Part):
    """The networks of another run's folds: fold k uses the one that was trained without fold k's validation rows."""

    run: str = Field(
        description="run folder whose confirmation kept its weights (confirm.keep_weights: true)"
    )
    folds: Literal["same"] = Field(
        description="fold k of this study uses fold k of that run; refused where that has trained on rows that are"
        " validated here"
    )

    @field_validator("run")
    @classmethod
    def _exists(cls, value: str, info: ValidationInfo) -> str:
        # only where a study is read: a trained network needs them no more
        if (info.context or {}).get("check_files") and not (Path(value) / "run.json").is_file():
            raise ValueError("is no run folder (run.json is missing)")
        return value


def _form(value: Any) -> str:
    return "of_folds" if isinstance(value, (dict, SameFolds)) else "file"


# a path, or the networks of another run's folds
FileOrFolds = Annotated[
    Annotated[str | None, Tag("file")] | Annotated[SameFolds, Tag("of_folds")],
    # without it a mistake in one form is reported as a mistake in both
    Discriminator(_form),
]
