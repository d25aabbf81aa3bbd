"""Files of any size become profiles that equal those of all rows at once, however many processes work."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from windvane.errors import WindvaneError
from windvane.profiles import DatasetProfile
from windvane_processors.profile import build
from windvane_processors.profile.build import Options, build_profiles
from windvane_processors.profile.cli_build import command

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 5000


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "x": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "n": rng.integers(0, 50, rows),
            "c": pa.array(rng.choice(["a", "b", "ß"], rows), mask=rng.random(rows) < 0.05),
            "when": pa.array(rng.integers(0, 10**9, rows), pa.timestamp("s")),
        }
    )


def parquet(path: Path, data: pa.Table, row_group_size: int = 700) -> Path:
    pq.write_table(data, path, row_group_size=row_group_size)
    return path


def exact(profile: DatasetProfile) -> dict[str, Any]:
    """What of a profile does not depend on chance or on the order of sums."""
    return {
        name: (
            column.counts,
            column.types,
            column.minimum,
            column.maximum,
            pytest.approx(column.moments.mean, abs=1e-9),
            pytest.approx(column.moments.m2),
            column.frequent_items.items if column.frequent_items else None,
            pytest.approx(column.cardinality.estimate, rel=0.05) if column.cardinality else None,
        )
        for name, column in profile.columns.items()
    }


def of_table(data: pa.Table, **options: Any) -> DatasetProfile:
    profile = DatasetProfile(**options)
    profile.track(dict(zip(data.column_names, data.columns, strict=True)))
    return profile


@pytest.mark.parametrize("processes", [1, 2])
def test_parquet_files_give_the_profile_of_all_rows(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By row groups, on one process or several; the bytes read add up to those of the files."""
    monkeypatch.setattr(build, "_UNIT_ROWS", 1500)
    one, two = table(seed=1), table(seed=2)
    paths = [parquet(tmp_path / "one.parquet", one), parquet(tmp_path / "two.parquet", two)]
    read: list[int] = []
    profiles = build_profiles(paths, Options(), processes=processes, advance=read.append)
    whole = of_table(pa.concat_tables([one, two]))
    assert exact(profiles[None]) == exact(whole)
    quartiles = profiles[None].columns["x"].quantiles
    assert quartiles is not None
    assert quartiles.quantiles([0.5])[0] == pytest.approx(np.nanmedian(np.concatenate([one["x"], two["x"]])), abs=0.05)
    assert sum(read) == pytest.approx(sum(path.stat().st_size for path in paths), abs=len(read))


def test_csv_files_are_read_with_one_type_per_column(tmp_path: Path) -> None:
    """Also where a later part of the file shows that integers are floats, or text; plain and gzip."""
    lines = ["i,f,t", *(f"{i},{i},{i}" for i in range(300_000)), "7,0.5,word"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("\n".join([*lines[:10], lines[-1]]))
    profile = build_profiles([tmp_path / "a.csv", tmp_path / "b.csv.gz"], Options(), processes=2)[None]
    types = {name: column.types for name, column in profile.columns.items()}
    assert (types["i"].integral, types["f"].fractional, types["t"].string) == (300_011, 300_011, 300_011)


def test_segments_have_profiles_of_their_own(tmp_path: Path) -> None:
    """Missing values too, under `null`; what is rare in the segment is left out of its file."""
    data = table()
    path = parquet(tmp_path / "data.parquet", data)
    profiles = build_profiles([path], Options(segment="c", frequent_items_minimum=40))
    assert list(profiles) == ["a", "b", "null", "ß"]
    frame = data.to_pandas()
    for segment, profile in profiles.items():
        rows = frame[frame["c"].isna()] if segment == "null" else frame[frame["c"] == segment]
        assert profile.columns["n"].counts.n == len(rows)
        assert "c" not in profile.columns
        kept = DatasetProfile.deserialize(profile.serialize()).columns["n"].frequent_items
        expected = {str(n): count for n, count in rows["n"].value_counts().items() if count >= 40}
        assert {item.value: item.estimate for item in kept.items} == expected if kept else not expected


def test_too_many_segments_are_refused(tmp_path: Path) -> None:
    """Rather than fill the memory."""
    path = parquet(tmp_path / "data.parquet", pa.table({"id": range(1001), "x": range(1001)}))
    with pytest.raises(WindvaneError, match="more than 1000 values"):
        build_profiles([path], Options(segment="id"))


def test_the_command_writes_files_that_can_be_read(tmp_path: Path) -> None:
    """With the model's name in them; what is there stays unless --force is given."""
    path = str(parquet(tmp_path / "data.parquet", table()))
    out = tmp_path / "deep" / "out.bin"
    arguments = [path, "-o", str(out), "--model", "flight-delay", "--version", "3", "--json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"profiles": [{"file": str(out), "segment": None, "rows": ROWS, "columns": 4}]}
    profile = DatasetProfile.deserialize(out.read_bytes())
    assert profile.metadata == {"ml.model.name": "flight-delay", "ml.model.version": "3"}
    assert isinstance(CliRunner().invoke(command, arguments).exception, WindvaneError)
    assert CliRunner().invoke(command, [*arguments, "--force"]).exit_code == 0
    folder = tmp_path / "segments"
    result = CliRunner().invoke(command, [path, "-o", str(folder), "--segment", "c"])
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in folder.iterdir()) == ["c=%C3%9F.bin", "c=a.bin", "c=b.bin", "c=null.bin"]
    assert [file.name for file in out.parent.iterdir()] == ["out.bin"]


@pytest.mark.parametrize(
    ("name", "content", "arguments", "words"),
    [
        ("no.parquet", b"PAR1 nonsense", [], "no.parquet"),
        ("empty.csv", b"", [], "empty.csv"),
        ("header.csv", b"a,b\n", [], "no rows"),
        ("data.txt", b"a\n1\n", [], "cannot tell its format"),
        ("data.csv", b"a\n1\n", ["--segment", "nope"], "'nope'"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, arguments: list[str], words: str
) -> None:
    """In one line, and nothing is written."""
    (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(command, [str(tmp_path / name), "-o", str(tmp_path / "out.bin"), *arguments])
    assert isinstance(result.exception, WindvaneError)
    assert words in str(result.exception)
    assert not (tmp_path / "out.bin").exists()


def large(path: Path) -> Path:
    """A file whose rows, as numbers in memory, take 160 MB."""
    chunk = pa.table({f"f{i}": np.random.default_rng(i).normal(size=100_000) for i in range(10)})
    with pq.ParquetWriter(path, chunk.schema) as writer:
        for _ in range(20):
            writer.write_table(chunk, row_group_size=100_000)
    return path


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    path = large(tmp_path / "large.parquet")
    command_line = [sys.executable, "-m", "windvane", "profile", "build", str(path), "-o", str(tmp_path / "out.bin")]
    return subprocess.Popen([*command_line, *arguments], stderr=subprocess.PIPE, text=True)


def workers(process: subprocess.Popen[str], number: int) -> list[psutil.Process]:
    """Wait for the processes of the pool."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
        if len(found) >= number:
            return found
        time.sleep(0.02)
    raise TimeoutError


def test_ctrl_c_leaves_neither_processes_nor_half_a_file(tmp_path: Path) -> None:
    """The pool ends with the command."""
    process = start(tmp_path, "--processes", "2")
    children = workers(process, 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not (tmp_path / "out.bin").exists()


def test_a_process_that_is_killed_is_told(tmp_path: Path) -> None:
    """As the kernel does where memory runs out: one line, no traceback, and nothing is written."""
    process = start(tmp_path, "--processes", "2")
    workers(process, 2)[0].kill()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "a process was killed" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out.bin").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Five times as many rows take about as much."""
    code = (
        "import sys, resource; from pathlib import Path; from windvane_processors.profile.build import *;"
        "build_profiles([Path(p) for p in sys.argv[1:]], Options(), processes=1);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    path = str(large(tmp_path / "large.parquet"))

    def peak(times: int) -> int:
        done = subprocess.run([sys.executable, "-c", code, *[path] * times], capture_output=True, text=True, check=True)
        return int(done.stdout) * 1024

    assert peak(5) - peak(1) < 60 * 2**20
