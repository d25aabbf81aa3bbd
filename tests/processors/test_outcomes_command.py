"""`windvane outcomes report` sends files of any size, and tells what became of each row."""

from __future__ import annotations

import gzip
import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from process_service import ProcessService

from windvane.tokens import PredictedClass, PredictedNumber, PredictedScore, Token, TokenKeys
from windvane_processors.outcomes.cli import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "an example of a secret of 32 characters"  # noqa: S105
KEYS = TokenKeys([SECRET])
NOW = int(time.time())


def tokens(number: int, predicted: Any = None) -> list[str]:
    made = (
        Token("m", "1", None, None, NOW, 7, 8, row, True, predicted or PredictedScore(0.75, positive=True))  # noqa: FBT003
        for row in range(number)
    )
    return KEYS.write(made)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ProcessService]:
    """A service with a store."""
    store = f"sqlite:{tmp_path / 'outcomes.db'}"
    service = ProcessService("--outcomes-store", store, WINDVANE_TOKEN_KEYS=SECRET, WINDVANE_PROCESS_TOKEN="bearer")  # noqa: S106
    try:
        yield service
    finally:
        service.kill()


def run(service: ProcessService, *arguments: object, bearer: str = "bearer") -> tuple[int, Any]:
    options = [*map(str, arguments), "--endpoint", service.endpoint, "--json"]
    done = CliRunner().invoke(command, ["report", *options], env={"WINDVANE_PROCESS_TOKEN": bearer})
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else done.exception


def summary(**changed: Any) -> dict[str, Any]:
    return {"read": 0, "empty": 0, "counted": 0, "waiting": 0, "duplicates": 0, "refused": {}} | changed


def test_parquet_and_csv_are_reported(service: ProcessService, tmp_path: Path) -> None:
    """Packed too; rows without an actual are left out; what was sent before counts once, so it may be sent again."""
    made = tokens(12_000)
    actuals = [None if row % 10 == 0 else row % 2 == 0 for row in range(len(made))]
    pq.write_table(pa.table({"t": made, "a": actuals, "other": made}), tmp_path / "x.parquet", row_group_size=1000)
    named = ["--token-column", "t", "--actual-column", "a"]
    expected = summary(read=12_000, empty=1200, counted=10_800)
    assert run(service, tmp_path / "x.parquet", *named) == (0, expected)
    lines = ["t,other,a", *(f"{token},,{'' if a is None else a}" for token, a in zip(made, actuals, strict=True))]
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    again = summary(read=24_000, empty=2400, duplicates=21_600)
    assert run(service, tmp_path / "x.csv.gz", tmp_path / "x.parquet", *named) == (0, again)


def test_every_kind_is_read_from_csv(service: ProcessService, tmp_path: Path) -> None:
    """Numbers for numbers, and classes as they stand there: 007 is not 7."""
    (tmp_path / "n.csv").write_text("t,a\n" + "".join(f"{t},1.50\n" for t in tokens(3, PredictedNumber(2.0, 1.0))))
    (tmp_path / "c.csv").write_text("t,a\n" + "".join(f"{t},007\n" for t in tokens(6, PredictedClass("007"))[3:]))
    named = ["--token-column", "t", "--actual-column", "a"]
    assert run(service, tmp_path / "n.csv", tmp_path / "c.csv", *named) == (0, summary(read=6, counted=6))


def test_own_keys_and_times_are_reported(service: ProcessService, tmp_path: Path) -> None:
    """Whole numbers and texts; a time as a number, a timestamp or a text; of two outcomes the later one."""
    keys = [str(number) for number in range(5)]
    digests = [KEYS.digest(f"m\n{key}").hex() for key in keys]
    body = {"predictions": [{"key_digest": d, "token": t} for d, t in zip(digests, tokens(5), strict=True)]}
    headers = {"content-type": "application/json", "authorization": "Bearer bearer"}
    assert service.send("/v1/predictions", json.dumps(body).encode(), headers)[0] == 200
    moment = datetime.fromtimestamp(NOW, UTC)
    named = ["--key-column", "k", "--model", "m", "--actual-column", "a", "--time-column", "when"]
    pq.write_table(pa.table({"k": [0, 1, None], "a": [1, 1, 1], "when": [moment] * 3}), tmp_path / "x.parquet")
    (tmp_path / "y.csv").write_text(f"k,a,when\n2,1,{NOW}\n3,1,{moment.isoformat()}\n4,1,\nunknown,1,\n")
    expected = summary(read=7, empty=1, counted=5, waiting=1)
    assert run(service, tmp_path / "x.parquet", tmp_path / "y.csv", *named) == (0, expected)


def test_refusals_are_told_by_reason_and_end_with_1(service: ProcessService, tmp_path: Path) -> None:
    """In JSON, and in words."""
    bad = [tokens(1)[0][:-8], "no token", *tokens(3)]
    pq.write_table(pa.table({"t": bad, "a": ["1", "1", "maybe", "1", "0"]}), tmp_path / "x.parquet")
    named = ["--token-column", "t", "--actual-column", "a"]
    code, told = run(service, tmp_path / "x.parquet", *named)
    assert code == 1
    assert told["counted"] == 2
    assert sum(told["refused"].values()) == 3
    assert told["refused"]["actual"] == 1
    options = ["report", str(tmp_path / "x.parquet"), *named, "--endpoint", service.endpoint]
    done = CliRunner().invoke(command, options, env={"WINDVANE_PROCESS_TOKEN": "bearer"})
    assert done.exit_code == 1
    assert "refused as actual: 1\n" in done.stdout


def test_a_service_that_comes_and_goes_gets_everything_once(service: ProcessService, tmp_path: Path) -> None:
    """What it does not answer is sent again, with pauses."""
    pq.write_table(pa.table({"t": tokens(60_000), "a": [1] * 60_000}), tmp_path / "x.parquet")

    def restart() -> None:
        for _ in range(3):
            time.sleep(0.4)
            service.kill()
            service.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    code, told = run(service, tmp_path / "x.parquet", "--token-column", "t", "--actual-column", "a")
    restarting.join()
    assert code == 0
    assert told["counted"] + told["duplicates"] == 60_000
    assert run(service, tmp_path / "x.parquet", "--token-column", "t", "--actual-column", "a") == (
        0,
        summary(read=60_000, duplicates=60_000),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--token-column", "t"], "--actual-column"),
        (["--actual-column", "a"], "--token-column"),
        (["--actual-column", "a", "--token-column", "t", "--key-column", "k"], "--token-column"),
        (["--actual-column", "a", "--key-column", "k"], "--model"),
        (["--actual-column", "a", "--token-column", "x"], "no column 'x'"),
        (["--actual-column", "ax", "--token-column", "t"], "did you mean 'a'"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Before anything is sent."""
    (tmp_path / "x.csv").write_text("t,a\nabc,1\n")
    done = CliRunner().invoke(command, ["report", str(tmp_path / "x.csv"), *arguments])
    assert done.exit_code != 0
    assert words in done.output + str(done.exception)


def test_a_time_that_cannot_be_read_is_told(service: ProcessService, tmp_path: Path) -> None:
    """With the option that names its column."""
    (tmp_path / "x.csv").write_text("t,a\nabc,1\n")
    code, error = run(service, tmp_path / "x.csv", "--token-column", "t", "--actual-column", "a", "--time-column", "t")
    assert code == 1
    assert "--time-column" in str(error)


def test_a_service_that_refuses_the_reporter_is_told(service: ProcessService, tmp_path: Path) -> None:
    """At once, with the variable that lacks the token, and without the token that was given."""
    (tmp_path / "x.csv").write_text("t,a\nabc,1\n")
    code, error = run(service, tmp_path / "x.csv", "--token-column", "t", "--actual-column", "a", bearer="hunter2")
    assert code == 1
    assert "WINDVANE_PROCESS_TOKEN" in str(error)
    assert "hunter2" not in str(error)


def test_an_address_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Nothing is tried again for minutes where nobody ever answered."""
    (tmp_path / "x.csv").write_text("t,a\nabc,1\n")
    options = ["--token-column", "t", "--actual-column", "a", "--endpoint", "http://127.0.0.1:1"]
    begin = time.monotonic()
    done = CliRunner().invoke(command, ["report", str(tmp_path / "x.csv"), *options])
    assert done.exit_code == 1
    assert "connection refused" in str(done.exception)
    assert time.monotonic() - begin < 20
