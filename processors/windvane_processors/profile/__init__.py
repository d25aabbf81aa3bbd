"""Profiles of data sets, as files: `windvane profile`."""
