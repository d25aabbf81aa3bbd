"""The demo: a delay model on real flights, whose broken feed reaches its owner.

- `flights`: the data, in time order
- `training`: the model and its baseline
- `service`: the HTTP service that is watched, the one place where windvane is used as any user would
- `replay`: the client that sends flights, and the incidents it can inject
- `inbox`: stands for the team's pager and channel; shows what was delivered
- `story`: runs all of it and judges what was delivered
"""
