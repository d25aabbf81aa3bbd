"""whylogs itself, in a process with the NumPy that it was made for.

Run by the interpreter of an environment with whylogs; reads requests from standard input and answers on
standard output, both pickled: a request is the name of a function below and its arguments.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from typing import Any

os.environ["WHYLOGS_NO_ANALYTICS"] = "True"

import pandas as pd
from whylogs.core import DatasetProfile
from whylogs.core.view.dataset_profile_view import DatasetProfileView


def profile_of_frames(batches: list[dict[str, tuple[Any, str | None]]]) -> bytes:
    """Profile frames, given as values and dtype of each column."""
    profile = DatasetProfile()
    for columns in batches:
        frame = pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (values, dtype) in columns.items()})
        profile.track(pandas=frame)
    return profile.view().serialize()


def profile_of_rows(rows: list[dict[str, Any]]) -> bytes:
    """Profile rows one by one."""
    profile = DatasetProfile()
    for row in rows:
        profile.track(row=row)
    return profile.view().serialize()


def merge(one: bytes, other: bytes) -> bytes:
    """Merge two profiles."""
    return DatasetProfileView.deserialize(one).merge(DatasetProfileView.deserialize(other)).serialize()


def visualised(target: bytes, reference: bytes, feature: str) -> dict[str, str]:
    """Show two profiles on the pages that whylogs makes for notebooks."""
    from whylogs.viz import NotebookProfileVisualizer  # noqa: PLC0415 - it takes seconds

    visualiser = NotebookProfileVisualizer()
    visualiser.set_profiles(
        target_profile_view=DatasetProfileView.deserialize(target),
        reference_profile_view=DatasetProfileView.deserialize(reference),
    )
    return {
        "drift": visualiser.summary_drift_report().data,
        "histogram": visualiser.double_histogram(feature_name=feature).data,
        "statistics": visualiser.feature_statistics(feature_name=feature, profile="target").data,
    }


def header(data: bytes) -> dict[str, Any]:
    """Tell what stands at the head of a profile."""
    view = DatasetProfileView.deserialize(data)
    return {
        "dataset_timestamp": view.dataset_timestamp,
        "creation_timestamp": view.creation_timestamp,
        "metadata": dict(view.metadata),
    }


def summary(data: bytes) -> dict[str, dict[str, Any]]:
    """Show a profile as whylogs does."""
    frame = DatasetProfileView.deserialize(data).to_pandas()
    result = {}
    for name, row in frame.iterrows():
        shown = {key: value for key, value in row.items() if key != "type"}
        items = shown.get("frequent_items/frequent_strings")
        if isinstance(items, list):
            shown["frequent_items/frequent_strings"] = {i.value: (i.est, i.lower, i.upper) for i in items}
        result[name] = shown
    return result


def components(data: bytes) -> dict[str, list[str]]:
    """List the components of each column."""
    view = DatasetProfileView.deserialize(data)
    return {name: sorted(column.get_metric_component_paths()) for name, column in view.get_columns().items()}


def shares(data: bytes, column: str, points: list[float]) -> list[float]:
    """Estimate the share of a column's numbers below each point."""
    metric: Any = DatasetProfileView.deserialize(data).get_column(column).get_metric("distribution")
    return list(metric.kll.value.get_cdf(points))[:-1]


def seconds_per_frames(frames: list[dict[str, Any]]) -> float:
    """Time whylogs on frames of one profile."""
    tables = [pd.DataFrame(columns) for columns in frames]
    profile = DatasetProfile()
    begin = time.process_time()
    for table in tables:
        profile.track(pandas=table)
    return time.process_time() - begin


def seconds_per_rows(rows: list[dict[str, Any]]) -> float:
    """Time whylogs on the rows of one profile."""
    profile = DatasetProfile()
    begin = time.process_time()
    for row in rows:
        profile.track(row=row)
    return time.process_time() - begin


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what whylogs prints is no answer
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the test that started this
        except EOFError:
            return
        try:
            answer = globals()[name](*arguments)
        except Exception as error:  # noqa: BLE001 - it is told to the test
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
