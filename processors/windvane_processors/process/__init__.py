"""`windvane process`: the service that takes profiles in and keeps them.

`records` judges what comes, `service` answers over HTTP and looks after the store, `cli` is the command.
"""
