"""A study's `data` part: the options of all readers as one union on `format`, and how a format is found.

`format: auto`, the default, takes the options of every format; once the reader is found, only its own are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, Field, create_model

from tune_digits.data.files.paths import columns_seen, existing, find_csv, is_csv, listing, read_header
from tune_digits.data.options import DataOptions, ImageOptions
from tune_digits.data.readers import READERS
from tune_digits.errors import DataError
from tune_digits.validate import validate


class _Auto(DataOptions):
    """The format is found by the names and headers of the files."""

    PLACES: ClassVar[frozenset[str]] = frozenset().union(*(r.Options.PLACES for r in READERS.values()))

    format: Literal["auto"] = "auto"
    path: str | None = Field(
        None,
        description="folder, training file or zip file, or torchvision:NAME for a set on disk; none = scikit-learn's"
        " digits",
    )


def _fields_of_all() -> dict[str, Any]:
    fields = [(n, r.Options.model_fields[n]) for r in READERS.values() for n in r.Options.own()]
    return {name: (field.annotation, field) for name, field in fields}


Auto = create_model("Auto", __base__=_Auto, __module__=__name__, **_fields_of_all())


def _with_format(value: Any) -> Any:
    """`auto` where no format is named."""
    return {"format": "auto", **value} if isinstance(value, dict) else value


if TYPE_CHECKING:
    Data = DataOptions  # a union made from a table is none to a type checker
else:
    Data = Annotated[
        Union[(Auto, *(reader.Options for reader in READERS.values()))],
        Field(discriminator="format"),
        BeforeValidator(_with_format),
    ]


def detect(path: str | Path | None) -> str:
    """The format of a file or folder, by names and headers. Raises DataError where it is none of them."""
    if path is None:
        return "digits"
    path = Path(path).expanduser()
    for name, reader in READERS.items():
        if reader.sniff(path):
            return name
    existing(path)
    found = f"the folder {path}, which has: {listing(path)}" if path.is_dir() else f"the file {path}"
    table = path if is_csv(path) else find_csv(path, "train") if path.is_dir() else None
    if table is not None:
        found += f". {table.name} has the columns {columns_seen(read_header(table))}"
    known = "; ".join(f"{name}: {reader.Options.__doc__}" for name, reader in READERS.items())
    raise DataError(f"Cannot tell how to read {found}. Known formats are: {known}.")


def resolve(data: DataOptions) -> DataOptions:
    """The options of one reader: `data` itself, or of `auto` those that the found format has.

    Raises DataError where `auto` was given an option that the found format does not have, and where it is none at
    all; ConfigError where the options contradict each other.
    """
    if not isinstance(data, _Auto):
        return data
    name = detect(data.path)
    given = data.given()
    _refuse_foreign(given, name, "no data.path" if data.path is None else data.path)
    shared = {key: getattr(data, key) for key in ("path", "extra", "subset")}
    return _options(name, shared | given)


def reading_alike(data: DataOptions, path: Path, channels: int | None = None) -> DataOptions:
    """The options with which further files at `path` are read as those of `data` were; their format is their own.

    channels: those of the training images, which the further ones get where their format can choose them.
    Raises DataError where images of the found format cannot be made alike.
    """
    name = detect(path)
    own = READERS[name].Options.own()
    given = data.reading()
    # size and channels show in the shape of the images, which is compared anyway
    _refuse_foreign(given.keys() - ImageOptions.model_fields.keys(), name, str(path))
    given = {key: value for key, value in given.items() if key in own}
    if channels in (1, 3) and "channels" in own:
        given["channels"] = channels
    return _options(name, {"path": str(path), "extra": (), **given})


def _options(name: str, values: dict[str, Any]) -> DataOptions:
    options: DataOptions = validate(READERS[name].Options, values, "data")
    return options


def _refuse_foreign(given: Iterable[str], name: str, path: str) -> None:
    """DataError for an option that the format `name` of the file or folder `path` does not have."""
    options = READERS[name].Options.model_fields
    for option in given:
        if option not in options:
            owners = ", ".join(n for n, r in READERS.items() if option in r.Options.model_fields)
            raise DataError(
                f"data.{option}: is no option of format {name}, which {path} was found to be; its options: "
                f"{', '.join(options)}; {option} belongs to: {owners}"
            )
