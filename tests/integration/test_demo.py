"""The demo tells its story to the end and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from windvane_dashboards.cli_dashboards import command as dashboards

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400), pytest.mark.xdist_group("demo")]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "windvane", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ,
    )


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def dashboards_check(prometheus: str, **variables: str) -> list[dict[str, Any]]:
    """Return what every query of every panel finds."""
    chosen = [f"--var={name}={value}" for name, value in variables.items()]
    done = CliRunner().invoke(dashboards, ["check", "--json", "--prometheus", prometheus, *chosen])
    found: list[dict[str, Any]] = json.loads(done.output)["queries"]
    return found


def paged(step: dict[str, Any]) -> dict[str, str]:
    """Return what the page is about that this step delivers; which one comes first depends on the machine."""
    labels = step["facts"]["labels"] if step["name"] == "delivered" else {}
    if labels.get("severity") != "page":
        return {}
    version = labels["ml_model_version"]
    return {"feature": labels["ml_feature_name"], "version": version, "other": "1" if version == "2" else "2"}


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the finding that has data, of the same query for two features."""
    assert (one["panel"], one["query"]) == (other["panel"], other["query"])
    return one if one["status"] == "ok" else other


def test_both_alerts_reach_their_owner_and_resolve_and_no_panel_is_empty_meanwhile() -> None:
    """`demo --once --json` ends with 0 after a ticket and a page were delivered as the owner declared, and resolved.

    So was the ticket of the concept drift, which outcomes alone show.

    When the page comes every query of every dashboard has an answer, but two lines that a day of history teaches.
    """
    process = start("--once", "--json")
    try:
        steps: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        processes: list[psutil.Process] = []
        assert process.stdout is not None
        for line in process.stdout:
            steps.append(json.loads(line))
            page = paged(steps[-1])
            if not found and page:
                (stack,) = (step["facts"] for step in steps if step["name"] == "stack")
                # The page's feature has an alert that fires, and temp, its feed's, the age of its events.
                found = [
                    better(*both)
                    for both in zip(
                        dashboards_check(stack["prometheus"], **page),
                        dashboards_check(stack["prometheus"], version="1", other="2", feature="temp"),
                        strict=True,
                    )
                ]
            processes.extend(family(process))
        assert process.wait(60) == 0, steps
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    at = {step["name"]: step["seconds"] for step in reversed(steps)}
    addresses = next(step["facts"] for step in steps if step["name"] == "stack")
    assert addresses["dashboards"].startswith("http://127.0.0.1:")
    assert at["metrics"] < 30 + at["trained"]
    assert at["done"] < 300
    told = [step["facts"] for step in steps if step["name"] == "delivered"]
    ticket = next(f for f in told if f["labels"].get("ml_feature_name") == "distance")
    assert (ticket["receiver"], ticket["labels"]["severity"]) == ("arrivals-channel", "ticket")
    first = next(f for f in told if f["labels"]["severity"] == "page")
    assert first["receiver"] == "arrivals-oncall"
    assert first["runbook_url"].startswith("https://")
    (landed,) = (step["facts"] for step in steps if step["name"] == "landed")
    assert set(landed["results"]) <= {"right", "wrong"}
    counted = sum(landed["results"].values())
    assert 0.8 * landed["reported"] < counted <= landed["reported"], "but for the last second, each that was reported"
    assert counted > 1000
    concept = next(f for f in told if f["labels"]["alertname"] == "MLConceptDrift")
    assert (concept["receiver"], concept["labels"]["severity"]) == ("arrivals-channel", "ticket")
    (quality,) = (step["facts"] for step in steps if step["name"] == "quality")
    assert quality["realised"] < quality["expected"] - 0.1
    assert not any("MLProbe" in facts["labels"]["alertname"] for facts in told)
    assert steps[-1]["facts"] == {"ok": True}
    assert len(found) > 130
    # Two lines learn from past days, and a binary model has no numbers, rankings and segments.
    known = ("learned from past days", "none of this kind", "no outcome was refused")
    for one in found:
        assert one["status"] in {"ok", "quiet"}, one
        assert one["status"] == "ok" or any(why in one["reason"] for why in known), one
    assert processes
    wait_until_gone(processes)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_early_end_leaves_no_process_behind(how: signal.Signals) -> None:
    """Ctrl-C, a termination and even a kill of the demo end everything it started."""
    process = start("--json")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["name"] == "metrics":
                break
        processes = family(process)
        assert len(processes) >= 4
        process.send_signal(how)
        begin = time.monotonic()
        process.wait(30)
        assert time.monotonic() - begin < 20
        wait_until_gone(processes)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
