"""The package's version; reading it from the installed metadata would double the time of the import."""

__version__ = "0.1.0"
