"""Errors that are the user's to mend. The command line prints their text alone and exits with code 2."""


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
