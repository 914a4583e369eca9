"""Every error Tasteprint raises on purpose, in one tree.

Each message says which argument, what is allowed, what was got and what to do.
Bugs stay ordinary Python errors; only mistakes a user can mend are here.
"""


class TasteprintError(Exception):
    """Base of all errors a user can mend."""


class ShopError(TasteprintError):
    """A shop's tables are missing, unreadable or break the data contract."""


class ConfigError(TasteprintError):
    """A configuration has an unknown key or a value out of range."""


class EncoderError(TasteprintError):
    """An encoder cannot be found, loaded or does not match its pin."""


class ArtefactError(TasteprintError):
    """An artefact on disk is missing, half-written, corrupted or carries another stamp."""


class WorkspaceError(TasteprintError):
    """A workspace is missing or was built by something else."""


class UnknownIdError(TasteprintError):
    """An item or user id that the workspace does not hold."""


class ExtraMissingError(TasteprintError):
    """An optional dependency is not installed; the message has the line that installs it."""
