"""Damages requests, stores and baselines for as long as it is told, and sees that nothing but a clear error comes.

`python tests/fuzz/fuzzer.py --seconds 600` prints how many inputs each reader has seen, and saves one that went wrong
beside it under its seed. The tests run it for a moment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

import windvane
from windvane import Outcomes, semconv
from windvane._ledger import Ledger
from windvane.errors import TokenError, WindvaneError
from windvane.profiles import DatasetProfile
from windvane.tokens import PredictedClass, PredictedNumber, PredictedRanking, PredictedScore, Token, TokenKeys
from windvane_processors.process.records import RefusedError, is_profile, part_of
from windvane_processors.profile_store import Part, ProfileStore

if TYPE_CHECKING:
    from collections.abc import Callable

_EDGES = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 10,
]
_WINDOW = int(time.time()) // 300 * 300
_SECONDS = 2.0
"""Within which any input is to be answered: a hundred times what it takes."""


class Target(NamedTuple):
    """A reader.

    Attributes:
        seeds: what it reads well.
        read: reads bytes.
        expected: the errors that it may raise.
    """

    seeds: list[bytes]
    read: Callable[[bytes], object]
    expected: tuple[type[Exception], ...]


def _profiles() -> list[bytes]:
    rng = np.random.default_rng(0)
    frames: list[dict[str, object]] = [
        {},
        {"x": [1.0]},
        {"x": [1, 2, None], "c": ["a", "ß", ""], "b": [True, False, None]},
        {"x": rng.normal(size=3000), "n": rng.integers(0, 900, 3000), "t": [f"t{i}" for i in range(900)]},
        {f"f{i}": rng.normal(size=20) for i in range(30)},
        {"o": [object(), [1.0, 2.0], datetime.now(UTC), "x", 2**70]},
    ]
    written = []
    for frame in frames:
        profile = DatasetProfile(
            dataset_timestamp=datetime.fromtimestamp(_WINDOW, UTC), metadata={"a": "b", "ß": "x" * 50}
        )
        profile.track(frame)
        written.append(profile.serialize())
    return written


def _requests() -> list[bytes]:
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    for body in _profiles()[:4]:
        record = records.add(event_name="ml.profile")
        record.body.bytes_value = body
        for attribute, text in (
            (semconv.MODEL_NAME, "m"),
            (semconv.MODEL_VERSION, "1"),
            (semconv.PROFILE_ID, "0" * 32),
            (semconv.PROFILE_CHUNK_CHECKSUM, hashlib.sha256(body).hexdigest()),
        ):
            record.attributes.add(key=attribute.name).value.string_value = text
        for attribute, number in (
            (semconv.PROFILE_WINDOW_START, _WINDOW),
            (semconv.PROFILE_WINDOW_DURATION, 300),
            (semconv.PROFILE_CHUNK_INDEX, 0),
        ):
            record.attributes.add(key=attribute.name).value.int_value = number
    return [message.SerializeToString()]


def _read_request(data: bytes) -> None:
    message = ExportLogsServiceRequest.FromString(data)
    for resource_logs in message.resource_logs:
        for scope in resource_logs.scope_logs:
            for record in scope.log_records:
                if is_profile(record):
                    part_of(record, now=datetime.now(UTC), retention=timedelta(days=400))


def _baselines() -> list[bytes]:
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=1000), "c": rng.choice(["a", "b"], 1000), "v": list(rng.normal(size=(1000, 3)))}
    score, late, other = rng.uniform(size=1000), rng.random(1000) < 0.5, rng.choice(["a", "b"], 1000)
    calibrated = (
        ({"score": score, "late": late}, {"output": "score", "actual": "late", "outcomes": Outcomes("binary")}),
        ({"other": other}, {"output": "c", "actual": "other", "outcomes": Outcomes("multiclass")}),
        ({"score": score}, {"output": "x", "actual": "score", "outcomes": Outcomes("regression", tolerance=1)}),
    )
    baselines = [windvane.Baseline.from_frame(frame, model="m", version="1")]
    for columns, options in calibrated:
        baselines.append(windvane.Baseline.from_frame({**frame, **columns}, model="m", version="1", **options))
    return [baseline.to_json().encode() for baseline in baselines]


def _tokens() -> list[bytes]:
    predicted = [
        PredictedScore(0.75, positive=True),
        PredictedClass("on time"),
        PredictedNumber(-12.5, 3.0),
        PredictedNumber(1e300, None),
        PredictedRanking(tuple(range(20))),
    ]
    tokens = [
        Token("m", "1", variant, segment, int(time.time()), 2**127, 2**63, row, sampled=True, predicted=each)
        for each in predicted
        for variant, segment, row in ((None, None, 0), ("canary", "c01", 300), (None, "00", 2**34))
    ]
    return [text.encode() for text in TokenKeys().write(tokens)]


def _read_token(data: bytes) -> None:
    # Unsigned, so that what is damaged is looked at, and written again as it came.
    keys = TokenKeys()
    text = data.decode("latin-1")
    token = keys.read(text)
    if keys.write([token]) != [text]:
        msg = "there are two ways to write a token"
        raise AssertionError(msg)
    ledger = Ledger()
    for actual in (1, "a", 2.5, [1, "b"], None):
        ledger.outcomes(keys, [(text, actual)], model=None)
    ledger.feedback(keys, [(text, "accepted")], model=None)
    list(ledger.streams())


def targets(folder: Path) -> dict[str, Target]:
    """What reads bytes from outside, but for profiles, whose test takes them apart.

    Args:
        folder: for what can only be read from a file.
    """
    store = ProfileStore(folder / "store")
    for number in range(3):
        store.put(Part("m", "1", _WINDOW, 300, f"{number:032x}", 0, _profiles()[number]))
    store.compact(datetime.now(UTC) + timedelta(days=400))
    (merged,) = (folder / "store").rglob("*.merged")

    def read_baseline(data: bytes) -> None:
        path = folder / "baseline.json"
        path.write_bytes(data)
        windvane.Baseline.load(path)

    def read_store(data: bytes) -> None:
        merged.write_bytes(data)
        fresh = ProfileStore(folder / "store")
        fresh.read("m", "1")
        fresh.windows("m", "1")

    return {
        "request": Target(_requests(), _read_request, (DecodeError, RefusedError)),
        "store": Target([merged.read_bytes()], read_store, (WindvaneError,)),
        "token": Target(_tokens(), _read_token, (TokenError,)),
        "baseline": Target(_baselines(), read_baseline, (WindvaneError,)),
    }


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """Cut, splice, repeat, flip and overwrite parts of what was well."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                edge = chance.choice(_EDGES)
                data[at : at + len(edge)] = edge
            case 2:
                del data[at : at + chance.randrange(1, 40)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case 4:
                other = chance.choice(seeds)
                begin = chance.randrange(len(other) + 1)
                data[at : at + 100] = other[begin : begin + chance.randrange(200)]
            case _ if data and at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def fuzz(seconds: float, seed: int) -> Counter[str]:
    """Damage and read for so long; return how many inputs each reader has seen, and how many of them it took.

    Raises:
        AssertionError: an input was answered with another error than those that are expected, or too slowly.
    """
    chance = random.Random(seed)  # noqa: S311 - the same damage for the same seed
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        everything = targets(Path(folder))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, target in everything.items():
                data = damaged(target.seeds, chance)
                begin = time.process_time()
                try:
                    target.read(data)
                    seen[f"{name} taken"] += 1
                except target.expected:
                    pass
                except Exception as error:
                    Path(f"fuzz-{name}-{seed}.bin").write_bytes(data)
                    msg = f"{name}: {type(error).__name__}: {error}; saved as fuzz-{name}-{seed}.bin"
                    raise AssertionError(msg) from error
                assert time.process_time() - begin < _SECONDS, f"{name}: {len(data)} bytes take too long"
                seen[name] += 1
    return seen


def main() -> None:
    """Run for as long as is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = fuzz(given.seconds, given.seed)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(json.dumps({**seen, "grown_mb": round(grown)}) + "\n")


if __name__ == "__main__":
    main()
