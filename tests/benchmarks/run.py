"""Figures, each against a named rival in the same run; never part of the tests, since machines differ.

Prints one line per figure (name, value, the rival's value, ratio, goal, whether it is met) and writes them to
`build/benchmarks.json`: a list of objects with the keys name, value, rival, ratio, goal and met. The name says
the unit and the rival; the goal is set on the ratio of the value to the rival's, or the reverse where it says
`>=`: how many times cheaper or faster. Progress goes to standard error.

Ours and theirs take turns, round by round, and each figure is a median over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import venv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from by_hand import watched_by_hand
from figures import ROUNDS, Figure, figure, in_turn
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult

import windvane
from windvane import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HERE = Path(__file__).parent
_FEATURES = 30
_ROW = {f"f{i}": 0.1 * i for i in range(_FEATURES)}
_PREDICT_SECONDS = 0.020


class Switch(Sampler):
    """Samples everything or nothing, as `on` says at the moment."""

    on = True

    def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
        """Ask the sampler that is switched on."""
        return (ALWAYS_ON if self.on else ALWAYS_OFF).should_sample(*args, **kwargs)  # type: ignore[arg-type]

    def get_description(self) -> str:
        """Name this sampler."""
        return "Switch"


SAMPLER = Switch()


def per_call(function: Callable[[], object], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time some calls, in microseconds per call."""
    begin = clock()
    for _ in range(calls):
        function()
    return (clock() - begin) / calls * 1e6


def numeric_model(name: str) -> windvane.Model:
    """Declare a model of 30 numeric features, all counted."""
    rng = np.random.default_rng(0)
    columns = {column: rng.normal(size=2000) for column in _ROW}
    return windvane.Model(name, version="1", baseline=windvane.Baseline.from_frame(columns, model=name, version="1"))


def hot_path() -> Iterator[Figure]:
    """Our call with 30 features counted, against a span and a histogram by hand without any."""
    ours = numeric_model("hot-path").predict(lambda _row: 0.5)
    theirs = watched_by_hand(lambda _row: 0.5)
    for SAMPLER.on, name in ((True, "sampled"), (False, "unsampled")):
        own, rival = in_turn(lambda: per_call(lambda: ours(_ROW), 1000), lambda: per_call(lambda: theirs(_ROW), 1000))
        text = f"hot-path-{name}: us of the caller, against start_as_current_span + Histogram.record"
        yield figure(text, own, rival, "<= 0.85")


def total_cpu() -> Iterator[Figure]:
    """As the hot path, but all CPU of a process of its own; the metrics are exported once in 10,000 calls."""
    for sampler, name in (("always_on", "sampled"), ("always_off", "unsampled")):
        variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
        command = (sys.executable, _HERE / "cpu.py")
        with answering(*command, "watched", **variables) as ours, answering(*command, "by-hand", **variables) as theirs:
            own, rival = in_turn(lambda: float(ours(10_000)), lambda: float(theirs(10_000)), rounds=11)
        text = f"total-cpu-{name}: us of CPU per call with worker and export, against span + histogram by hand"
        yield figure(text, own, rival, "<= 1")


def frame() -> Iterator[Figure]:
    """A frame of 10,000 rows and 30 features, whose prediction takes 20 ms, against the bare function."""
    import pandas as pd  # noqa: PLC0415 - the other figures do not need it

    rng = np.random.default_rng(0)
    rows = pd.DataFrame({column: rng.normal(size=10_000) for column in _ROW})

    def predict(_rows: pd.DataFrame) -> float:
        end = time.perf_counter() + _PREDICT_SECONDS
        while time.perf_counter() < end:
            pass
        return 0.5

    ours = numeric_model("frame").predict(predict)
    own, rival = in_turn(lambda: per_call(lambda: ours(rows), 5), lambda: per_call(lambda: predict(rows), 5))
    yield figure("frame-10000x30: us of the caller, against the same predict of 20 ms alone", own, rival, "<= 1.05")


@contextlib.contextmanager
def answering(*command: str | Path, **variables: str) -> Iterator[Callable[[int], str]]:
    """Start a process that answers a number with a line; the first answer has made everything ready."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(number: int) -> str:
        process.stdin.write(f"{number}\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return process.stdout.readline()  # type: ignore[union-attr]

    try:
        ask(1)
        yield ask
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def rivals() -> Iterator[Figure]:
    """What counting a row of 30 numbers costs the caller, against monitors that log or profile it."""
    directory = Path("build/rivals")
    requirements = _HERE / "rivals.txt"
    installed = directory / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        venv.create(directory, clear=True, with_pip=True)
        pip = [directory / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        installed.write_text(requirements.read_text())
    # The rivals count and do not trace: against theirs are set what counting adds to a call, and the whole call.
    counting = numeric_model("rivals").predict(lambda _row: 0.5)
    tracing = windvane.Model("rivals", version="none").predict(lambda _row: 0.5)

    def timed(function: Callable[[dict[str, float]], float], *, sampled: bool) -> float:
        SAMPLER.on = sampled
        return per_call(lambda: function(_ROW), 1000)

    for rival, what in (("whylogs", "track"), ("bentoml", "monitor")):
        with answering(directory.resolve() / "bin/python", _HERE / "rival.py", rival, PYTHONPATH="") as ask:
            whole, counted, bare, theirs = in_turn(
                lambda: timed(counting, sampled=True),
                lambda: timed(counting, sampled=False),
                lambda: timed(tracing, sampled=False),
                lambda ask=ask: float(ask(50)),  # type: ignore[misc]
                rounds=15,
            )
        added = [a - b for a, b in zip(counted, bare, strict=True)]
        yield figure(
            f"{rival}-row: us that counting 30 features adds, against {rival}'s {what}", added, theirs, ">= 10"
        )
        text = f"{rival}-row-whole-call: us of our call with its span and duration, against {rival}'s {what}"
        yield figure(text, whole, theirs, ">= 10")


def throughput() -> Iterator[Figure]:
    """How much the worker counts in a second of CPU; the goal stands in the rival's place."""
    import pandas as pd  # noqa: PLC0415 - the other figures do not need it

    rng = np.random.default_rng(0)
    predict = numeric_model("throughput").predict(lambda _rows: 0.5)
    data = pd.DataFrame({column: rng.normal(size=10_000) for column in _ROW})
    predict(data)
    thread = next(thread for thread in threading.enumerate() if thread.name == "windvane-worker")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    cases = (("frame-cells", data, 10_000 * _FEATURES, 10e6), ("dict-rows", data[:5000].to_dict("records"), 5000, 2e5))
    for name, rows, units, wanted in cases:
        rates = []
        for _ in range(ROUNDS):
            _runtime.worker.drain(30)
            begin = time.clock_gettime(clock)
            for _ in range(2):
                predict(rows)
            _runtime.worker.drain(30)
            rates.append(2 * units / (time.clock_gettime(clock) - begin))
        text = f"worker-{name}: per second of the worker's CPU, against the goal"
        rate = statistics.median(rates)
        yield Figure(text, rate, wanted, rate / wanted, ">= 1", rate >= wanted)


def profiling() -> Iterator[Figure]:
    """What profiles add to the worker's CPU, over that of counting into bins."""
    rng = np.random.default_rng(0)
    rows = [dict(zip(_ROW, values.tolist(), strict=True)) for values in rng.normal(size=(5000, _FEATURES))]
    models = [
        windvane.Model(name, version="1", features=list(_ROW), profiles=profiles)
        for name, profiles in (("profiled", windvane.ProfileEvents()), ("unprofiled", None))
    ]
    predicts = [model.predict(lambda _row: 0.5) for model in models]
    predicts[0](rows[0])
    thread = next(thread for thread in threading.enumerate() if thread.name == "windvane-worker")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)

    def seconds(predict: Callable[[dict[str, float]], float]) -> float:
        begin = time.clock_gettime(clock)
        for row in rows:
            predict(row)
        _runtime.worker.drain(30)
        return (time.clock_gettime(clock) - begin) / len(rows) * 1e6

    own, rival = in_turn(*[lambda predict=predict: seconds(predict) for predict in predicts])
    yield figure("profiled-rows: us of the worker's CPU per dict row of 30, against bins alone", own, rival, "<= 2")


def expecting() -> Iterator[Figure]:
    """What expected outcomes add to the worker's CPU, over that of counting into bins, and to the caller's time."""
    rng = np.random.default_rng(0)
    data = {column: rng.normal(size=10_000) for column in _ROW}
    scores = rng.uniform(size=10_000)
    data |= {"score": scores, "late": rng.random(10_000) < scores}
    of = {"version": "1", "output": "score"}
    with_it = {"actual": "late", "outcomes": windvane.Outcomes("binary")}
    predicts = []
    for name, options in (("expecting", with_it), ("not-expecting", {"exclude": ["late"]})):
        baseline = windvane.Baseline.from_frame(data, model=name, **of, **options)
        predicts.append(windvane.Model(name, version="1", baseline=baseline).predict(lambda _rows, answer: answer))
    rows = np.array([data[column] for column in _ROW]).T
    dicts = [dict(zip(_ROW, values.tolist(), strict=True)) for values in rows[:5000]]
    answers = scores.tolist()
    predicts[0](rows, scores)
    thread = next(thread for thread in threading.enumerate() if thread.name == "windvane-worker")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)

    def singles(predict: Callable[..., object]) -> None:
        for row, answer in zip(dicts, answers, strict=False):
            predict(row, answer)

    def seconds(call: Callable[[], object], number: int) -> float:
        begin = time.clock_gettime(clock)
        call()
        _runtime.worker.drain(30)
        return (time.clock_gettime(clock) - begin) / number * 1e6

    own, rival = in_turn(*[lambda p=p: seconds(lambda: p(rows, scores), len(rows)) for p in predicts])
    text = "expected-batch: us of the worker's CPU per row of 30 in batches of 10,000, against bins alone"
    yield figure(text, own, rival, "<= 1.2")
    own, rival = in_turn(*[lambda p=p: seconds(lambda: singles(p), len(dicts)) for p in predicts])
    text = "expected-rows: us of the worker's CPU per dict row of 30, against bins alone"
    yield figure(text, own, rival, "<= 1.2")
    SAMPLER.on = False
    own, rival = in_turn(*[lambda p=p: per_call(lambda: p(dicts[0], 0.5), 1000) for p in predicts])
    yield figure("expected-caller: us of the caller, against bins alone", own, rival, "<= 1.02")


def batch() -> Iterator[Figure]:
    """Profiles of large files, and of Spark's frames."""
    import batch as of_files  # noqa: PLC0415 - it needs Spark

    return of_files.batch()


def outcomes() -> Iterator[Figure]:
    """Outcomes per second of the service of `windvane process`."""
    import outcomes as of_outcomes  # noqa: PLC0415 - it needs Postgres

    return of_outcomes.outcomes()


def percentile(answers: Iterable[str], share: float) -> float:
    """Return a percentile of the calls of all rounds together, in milliseconds."""
    return float(np.percentile([seconds for answer in answers for seconds in json.loads(answer)], share) * 1e3)


def tail() -> Iterator[Figure]:
    """The tail of a prediction of 1 ms at 200 calls a second, with exports at the SDK's own intervals."""
    calls, rounds = 1000, 10
    paced = (sys.executable, _HERE / "paced.py")
    usual = {"OTEL_METRIC_EXPORT_INTERVAL": "60000", "OTEL_BSP_SCHEDULE_DELAY": "5000"}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(answering(*paced, mode, OTEL_TRACES_SAMPLER=sampler, **usual))
            for mode, sampler in (
                ("bare", "always_off"),
                ("watched", "always_off"),
                ("watched", "always_on"),
                ("by-hand", "always_on"),
            )
        ]
        answers = in_turn_text(calls, rounds, *processes)
    bare, unsampled, sampled, by_hand = (percentile(answer, 99.9) for answer in answers)
    what = "ms of a predict of 1 ms, 200 calls/s, against"
    for name, value, rival, against in (
        ("p99.9-unsampled", unsampled, bare, "the function alone"),
        ("p99.9-sampled", sampled, bare, "the function alone"),
        ("p99.9-sampled-by-hand", sampled, by_hand, "span + histogram by hand"),
    ):
        yield figure(f"{name}: {what} {against}", [value], [rival], "<= 1.1")


def in_turn_text(calls: int, rounds: int, *asks: Callable[[int], str]) -> list[list[str]]:
    """Ask in turn; the first round warms up."""
    answers: list[list[str]] = [[] for _ in asks]
    for _ in range(rounds + 1):
        for ask, segments in zip(asks, answers, strict=True):
            segments.append(ask(calls))
    return [segments[1:] for segments in answers]


class Fault:
    """A Collector that takes connections and misbehaves: answers after `delay` seconds, or resets at once."""

    def __init__(self, delay: float | None) -> None:
        """Listen on a free port of the loopback."""
        self._delay = delay
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(2**20)
            if self._delay is None:
                # A linger of zero seconds makes close() send RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            time.sleep(self._delay)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self) -> None:
        """Listen no more."""
        self._server.close()


def collector() -> Iterator[Figure]:
    """The tail with a Collector that is dead, slow or resets connections, against a healthy one."""
    calls, rounds = 400, 5
    slow, resetting = Fault(5.0), Fault(None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"  # nobody listens there once this is closed
    endpoints = {"dead": dead, "slow": slow.endpoint, "resetting": resetting.endpoint}
    paced = (sys.executable, _HERE / "paced.py", "watched")
    try:
        with contextlib.ExitStack() as stack:
            healthy = stack.enter_context(answering(*paced))
            faulty = [
                stack.enter_context(answering(*paced, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
                for endpoint in endpoints.values()
            ]
            well, *ill = in_turn_text(calls, rounds, healthy, *faulty)
    finally:
        slow.close()
        resetting.close()
    rival = [percentile(well, 99)]
    for name, segments in zip(endpoints, ill, strict=True):
        name_ = f"p99-collector-{name}: ms of a predict of 1 ms, against a healthy one"
        yield figure(name_, [percentile(segments, 99)], rival, "<= 1.1")


def import_time() -> Iterator[Figure]:
    """The import, against what every service with numpy and OpenTelemetry imports anyway."""
    with tempfile.TemporaryDirectory() as cache:
        # Compiled once, as an installed package is, whatever the variables of this shell say.
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        variables["PYTHONPYCACHEPREFIX"] = cache

        def milliseconds(statement: str) -> float:
            code = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
            command = [sys.executable, "-c", code]
            return (
                float(subprocess.run(command, capture_output=True, text=True, check=True, env=variables).stdout) * 1e3
            )

        own, rival = in_turn(
            lambda: milliseconds("import windvane"),
            lambda: milliseconds("import opentelemetry.metrics, numpy"),
            rounds=21,
        )
    yield figure("import: ms, against importing opentelemetry.metrics and numpy", own, rival, "<= 1.3")


def million() -> Iterator[Figure]:
    """Memory and series under a million calls with random categories and names; the bounds are the rivals."""
    variables = {**os.environ, "OTEL_TRACES_SAMPLER": "always_off"}  # spans would be the host's memory
    command = [sys.executable, _HERE / "million.py", "1000000"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=variables)
    result = json.loads(done.stdout)
    grown = result["grown"] / 1e6
    yield Figure(
        "million-calls-memory: MB above the start, against the bound", grown, 30, grown / 30, "<= 1", grown <= 30
    )
    before, after = result["series"]
    yield Figure(
        "million-calls-series: series after, against before", after, before, after / before, "<= 1", after <= before
    )
    counted = result["rows"] + result["dropped"]
    text = "million-calls-accounted: calls counted or dropped and counted as such, against calls"
    yield Figure(text, counted, 1e6, counted / 1e6, "= 1", counted == 1_000_000)


@contextlib.contextmanager
def otlp_sink() -> Iterator[str]:
    """A receiver in a process of its own, so that the exporters work as they do in production."""
    sink = subprocess.Popen([sys.executable, _HERE / "sink.py"], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        yield f"http://127.0.0.1:{int(sink.stdout.readline())}"
    finally:
        sink.kill()
        sink.wait()


def tokens() -> Iterator[Figure]:
    """Tokens, outcomes in batches, and what a call pays for them."""
    from tokens import tokens as measured  # noqa: PLC0415 - beside the other groups

    return measured()


def profiles() -> Iterator[Figure]:
    """Profiles of frames and rows, against whylogs."""
    from profiles import profiles as measured  # noqa: PLC0415 - the other figures do without datasketches

    return measured()


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {
    "hot-path": hot_path,
    "total-cpu": total_cpu,
    "frame": frame,
    "rivals": rivals,
    "throughput": throughput,
    "profiling": profiling,
    "expecting": expecting,
    "batch": batch,
    "outcomes": outcomes,
    "tokens": tokens,
    "tail": tail,
    "collector": collector,
    "import": import_time,
    "million": million,
    "profiles": profiles,
}


def main() -> None:
    """Measure everything, or the groups that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="NAME", help=f"one of {', '.join(GROUPS)}")
    chosen = parser.parse_args().only or list(GROUPS)
    figures: list[Figure] = []
    with otlp_sink() as endpoint:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "1000"
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the receiver is gone before the exporters
        windvane.configure()
        trace.get_tracer_provider().sampler = SAMPLER  # type: ignore[attr-defined]
        for group in chosen:
            begin = time.monotonic()
            sys.stderr.write(f"measuring {group} ...\n")
            for measured in GROUPS[group]():
                figures.append(measured)
                sys.stdout.write(f"{measured}\n")
                sys.stdout.flush()
            sys.stderr.write(f"... {group} took {time.monotonic() - begin:.0f} s\n")
    target = Path("build/benchmarks.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
