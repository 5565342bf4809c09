"""Errors that are the user's to mend. The command line prints their text alone and exits with code 2."""

import re


def printable(text: str) -> str:
    """The text, letters that control a terminal written as their numbers; ends of lines and tabs stay."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda m: f"\\x{ord(m[0]):02x}", text
    )


class UserError(Exception):
    """What is wrong, where (file, key, row), what is allowed, and what to do, in plain words."""


class ConfigError(UserError):
    """A study, a search space or a command-line flag that cannot be used."""


class DataError(UserError):
    """A data file or folder that cannot be read as what it should be."""


class StorageError(UserError, OSError):
    """A file that cannot be written: the disk is full, or writing is not allowed there."""


class RunError(UserError):
    """A run folder that is missing, unfinished, in use, or of another format version."""
