"""The options of a study's `data` part that all formats share; each reader adds its own, `formats.py` joins them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tune_digits.config import Part


class Extra(Part):
    """A further labelled set beside the training data."""

    path: str = Field(min_length=1, description="file or folder; relative to data.path")
    role: Literal["holdout", "train"] = Field(
        "holdout", description="holdout: scored, never trained on; train: its rows join the training data"
    )


def _as_extras(value: Any) -> Any:
    """One name or entry stands for a tuple of one, a bare name for an entry."""
    entries = (value,) if isinstance(value, str | dict | Extra) else value
    if not isinstance(entries, list | tuple):
        return value
    return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


def _as_size(value: Any) -> Any:
    """One number is the height and the width."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


class DataOptions(Part):
    """What is read and which rows are used; a reader's own options say how its files become images."""

    # own options that name a place on this machine, and do not say how files become images
    PLACES: ClassVar[frozenset[str]] = frozenset()

    path: str | None
    format: str
    extra: Annotated[tuple[Extra, ...] | None, BeforeValidator(_as_extras)] = Field(
        None,
        description="extra labelled sets, paths or {path, role: holdout | train}; none = found by name, () = no",
    )
    subset: int | None = Field(
        None,
        ge=20,
        description="search and confirmation train on this many samples, drawn evenly by class, and are judged on all "
        "validation rows",
    )

    @classmethod
    def own(cls) -> list[str]:
        """The options that this format has beside those that all have."""
        return [name for name in cls.model_fields if name not in DataOptions.model_fields]

    def given(self) -> dict[str, Any]:
        """The format's own options that are not at their defaults."""
        fields = type(self).model_fields
        return {
            name: getattr(self, name) for name in self.own() if getattr(self, name) != fields[name].default
        }

    def reading(self) -> dict[str, Any]:
        """The given options without places: what further images must be read with to look like these."""
        return {name: value for name, value in self.given().items() if name not in self.PLACES}


Side = Annotated[int, Field(ge=4, le=1024)]


class ImageOptions(DataOptions):
    """Options of the formats whose images may be of any size: to what they are made."""

    size: Annotated[tuple[Side, Side] | None, BeforeValidator(_as_size)] = Field(
        None,
        description="height and width in pixels that image files and Bengali.AI's images are resized to: one number, "
        "or [height, width]; none = as they are, all of one size",
    )
    channels: Literal["auto", 1, 3] = Field(
        "auto", description="1 grey, 3 colour; auto = colour where any training image has it"
    )
