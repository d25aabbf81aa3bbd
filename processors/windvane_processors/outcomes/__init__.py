"""Outcomes that others report: the part of `windvane process` that takes them in, and the command that sends files.

`reports` reads what comes, `intake` answers over HTTP, `store` counts every outcome exactly once with a database below
(`sqlite`, `postgres`, which share `database`), `cli` is `windvane outcomes`.
"""
