"""`windvane baseline` makes and shows baselines of files, whatever they hold."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from windvane import _baseline_builder as builder
from windvane.baseline import Baseline, Feature
from windvane.bins import CategoryBins, NumericBins
from windvane.cli import main
from windvane.errors import BaselineError
from windvane_processors.demo.flights import table
from windvane_processors.reference import DataFiles, build_baseline, files

if TYPE_CHECKING:
    from pathlib import Path

FLIGHTS_OPTIONS = ["--model", "flight-delay", "--version", "3", "--output", "arr_delay", "--exclude", "year"]
OPTIONS = builder.Options(model="m", version="1", min_category_count=1)


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """The first 40,000 flights, in time order."""
    return table("flights.csv.zip").head(40_000)


@pytest.fixture(scope="module")
def csv(flights: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights as a CSV file."""
    path = tmp_path_factory.mktemp("data") / "flights.csv"
    flights.to_csv(path, index=False)
    return path


def run(*arguments: str | Path) -> int:
    """Run the command; return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def build_text(tmp_path: Path, text: str | bytes, **options: Any) -> tuple[Baseline, tuple[str, ...]]:
    """Make a baseline of the text of one CSV file."""
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    chosen = builder.Options(**{"model": "m", "version": "1", "min_category_count": 1, **options})
    return build_baseline(DataFiles([path], exclude=chosen.exclude, categorical=chosen.categorical), chosen)


def feature(baseline: Baseline, name: str) -> Feature:
    """Return the feature of that name."""
    return next(f for f in baseline.features if f.name == name)


# --- The command -----------------------------------------------------------------------------------


def test_build_and_show_flights(
    flights: pd.DataFrame, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes what `from_frame` makes of the same data, says what it did, and shows it."""
    out = tmp_path / "flights.json"
    assert run("baseline", "build", csv, *FLIGHTS_OPTIONS, "--exclude", "time_hour", "-o", out) == 0
    printed = capsys.readouterr()
    baseline = Baseline.load(out)
    exclude = ["year", "time_hour"]
    expected = Baseline.from_frame(flights, model="flight-delay", version="3", output="arr_delay", exclude=exclude)
    assert baseline == expected
    assert feature(baseline, "distance").rows == 40_000
    assert f"id {baseline.id}" in printed.out
    assert 'windvane.Model("flight-delay", version="3", baseline=' in printed.out
    assert "pass 1 of 2" in printed.err
    assert "pass 2 of 2" in printed.err
    assert run("baseline", "show", out) == 0
    shown = capsys.readouterr().out
    assert "flight-delay 3: 18 features, 40,000 rows" in shown
    assert "Not watched: year, time_hour" in shown
    (line,) = (line for line in shown.splitlines() if line.split()[:1] == ["carrier"])
    assert "UA, B6, EV and " in line
    assert "█" in line
    (line,) = (line for line in shown.splitlines() if line.split()[:1] == ["reconstruction_error"])
    assert line.split()[1:3] == ["derived", "float"]


def test_build_and_show_print_json(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json standard output is one JSON object, warnings included."""
    out = tmp_path / "b.json"
    assert run("baseline", "build", csv, *FLIGHTS_OPTIONS, "-o", out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["path"] == str(out)
    assert summary["rows"] == 40_000
    assert summary["warnings"] == []
    assert {f["name"]: f["type"] for f in summary["features"]}["time_hour"] == "time"
    assert {f["name"]: f["role"] for f in summary["features"]}["arr_delay"] == "output"
    assert run("baseline", "show", out, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {key: value for key, value in summary.items() if key != "warnings"}


def test_files_of_all_formats_give_one_baseline(
    flights: pd.DataFrame, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CSV, compressed CSV with NA, Parquet, and several files in order give the same identity."""
    packed, parquet = tmp_path / "f.csv.gz", tmp_path / "f.parquet"
    first, second = tmp_path / "1.csv", tmp_path / "2.parquet"
    flights.to_csv(packed, index=False, na_rep="NA")
    pq.write_table(pa.Table.from_pandas(flights, preserve_index=False), parquet, row_group_size=7000)
    flights[:15_000].to_csv(first, index=False)
    flights[15_000:].to_parquet(second, index=False)
    ids = set()
    for data in ([csv], [packed], [parquet], [first, second]):
        assert run("baseline", "build", *data, *FLIGHTS_OPTIONS, "-o", tmp_path / "b.json", "--json") == 0
        ids.add(json.loads(capsys.readouterr().out)["id"])
    assert len(ids) == 1


def test_importances_are_read_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Importances are scaled to sum to 1 and shown."""
    (tmp_path / "d.csv").write_text("a,b\n" + "1,2\n3,4\n" * 10)
    (tmp_path / "i.json").write_text('{"a": 3, "b": 1}')
    out = tmp_path / "b.json"
    arguments: list[str | Path] = ["--model", "m", "--version", "1", "-o", out, "--importances", tmp_path / "i.json"]
    assert run("baseline", "build", tmp_path / "d.csv", *arguments) == 0
    assert [f.importance for f in Baseline.load(out).features] == [0.75, 0.25]
    assert "75.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON"),
        ("[1]", "must be a JSON object"),
        ('{"a": "x"}', "'x' is no finite number"),
        ('{"a": 1}', "'b' have none"),
        ('{"a": 1, "c": 1}', "no such column"),
        (None, "cannot be read"),
    ],
)
def test_importances_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, says: str
) -> None:
    """The command ends in one line that says why, and writes nothing."""
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    if content is not None:
        (tmp_path / "i.json").write_text(content)
    out = tmp_path / "b.json"
    arguments: list[str | Path] = ["--model", "m", "--version", "1", "-o", out, "--importances", tmp_path / "i.json"]
    assert run("baseline", "build", tmp_path / "d.csv", *arguments) == 1
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()


def test_errors_end_in_one_line(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad arguments end with exit code 1 and one line, before any data is read."""
    out = tmp_path / "b.json"
    cases: list[tuple[list[str | Path], str]] = [
        (["build", tmp_path / "absent.csv", "-o", out], "absent.csv: cannot be read: No such file"),
        (["build", tmp_path, "-o", out], "cannot tell its format"),
        (["build", csv, "-o", tmp_path], "is a directory"),
        (["build", csv, "-o", tmp_path / "absent" / "b.json"], "its directory does not exist"),
        (["build", csv, "-o", csv], "is one of the data files"),
        (["build", csv, "-o", out, "--output", "arr_dellay"], "did you mean 'arr_delay'?"),
        (["build", csv, "-o", out, "--exclude", "yeer"], "did you mean 'year'?"),
    ]
    for arguments, says in cases:
        assert run("baseline", *arguments, "--model", "m", "--version", "1") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
    assert run("baseline", "show", csv) == 1
    assert "is no JSON" in capsys.readouterr().err
    assert not out.exists()


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and markup in names and categories are shown as text."""
    frame = {"\x1b[31mred": [1, 2], "c": ["\x1b]0;x\x07", "[bold]b[/]"]}
    out = tmp_path / "b.json"
    Baseline.from_frame(frame, model="m", version="1", min_category_count=1).save(out)
    assert run("baseline", "show", out) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown
    assert "[bold]b[/]" in shown


# --- Reading files ---------------------------------------------------------------------------------


def test_types_of_csv_columns(tmp_path: Path) -> None:
    """Numbers, booleans and text are told apart; dates and times too; empty fields and NA are missing."""
    text = "f,i,b,s,d\n" + "1.5,1,true,x,2013-01-01\n,NA,,NA,\n" + '2.5,2,false,"NA",2013-01-02\n'
    baseline, notes = build_text(tmp_path, text)
    assert [(f.name, f.type) for f in baseline.features] == [
        ("f", "float"),
        ("i", "integer"),
        ("b", "boolean"),
        ("s", "string"),
        ("d", "time"),
    ]
    assert [f.missing_share for f in baseline.features] == pytest.approx([1 / 3] * 5)
    assert feature(baseline, "s").bins == CategoryBins(("NA", "x"), 2)
    assert notes == ()


def test_what_is_told_of_columns_is_read_from_a_file(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--about` gives units, sources and teams, and `show` prints them."""
    about = tmp_path / "about.json"
    about.write_text('{"distance": {"unit": "mi", "source": "schedule", "team": "data-platform"}}')
    out = tmp_path / "b.json"
    assert run("baseline", "build", csv, *FLIGHTS_OPTIONS, "--about", about, "-o", out) == 0
    assert feature(Baseline.load(out), "distance").team == "data-platform"
    capsys.readouterr()
    assert run("baseline", "show", out) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["distance"])
    assert " mi " in line
    assert line.rstrip().endswith("schedule (data-platform)")


def test_byte_order_mark_line_breaks_and_quotes_are_read(tmp_path: Path) -> None:
    """A file as spreadsheets write it is read."""
    baseline, _ = build_text(tmp_path, b'\xef\xbb\xbf"a b",c\r\n"1","x\r\ny"\r\n"2","say ""hi"""\r\n')
    assert [f.name for f in baseline.features] == ["a b", "c"]
    assert set(feature(baseline, "c").bins.ranges[:2]) == {"x\r\ny", 'say "hi"'}


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [("1", "2.5", "float"), ("", "3", "integer"), ("", "2.5", "float"), ("", "x", "string"), ("1", "9" * 25, "float")],
)
def test_column_whose_type_shows_late_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, later: str, expected: str
) -> None:
    """Types that the first block does not show are widened."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 256)
    baseline, _ = build_text(tmp_path, "x,y\n" + f"{first},1\n" * 200 + f"{later},1\n" * 300)
    assert feature(baseline, "x").type == expected
    assert baseline.rows == 500


@pytest.mark.parametrize("first", ["1", "2.5", "true"])
def test_text_among_numbers_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """The message names file, line, column, value and mend; with --exclude and --categorical it is read."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 256)
    text = "y,x\n" + f"1,{first}\n" * 200 + "1,oops\n"
    with pytest.raises(BaselineError, match=r"data\.csv: line 202, column 'x': 'oops' is no .*--exclude x"):
        build_text(tmp_path, text)
    assert build_text(tmp_path, text, exclude=("x",))[0].ignored_columns == ("x",)
    assert feature(build_text(tmp_path, text, categorical=("x",))[0], "x").bins == CategoryBins((first, "oops"), 2)


def test_dates_can_be_categories(tmp_path: Path) -> None:
    """--categorical reads dates as text."""
    baseline, _ = build_text(tmp_path, "d\n2013-01-01\n2013-01-01\n2013-01-02\n", categorical=("d",))
    assert feature(baseline, "d").bins == CategoryBins(("2013-01-01", "2013-01-02"), 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no rows"),
        (b"\n\n", "holds no rows"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "'a' stands twice"),
        (b",a\n1,2\n", "column number 1 has no name"),
        (b"a,b\n1,2\n1\n", "line 3: Expected 2 columns, got 1"),
        (b"a,b\n1,2,3\n", "Expected 2 columns, got 3"),
        (b"a,b\xe9\n1,2\n", "is no UTF-8 text"),
        (b"a,b\n1,\xe9\n", "'b': is no UTF-8 text"),
        (b"a,b\n,NA\n", "no column can be watched"),
        (b"\x00\x01\x02", "holds no rows"),
        (b"PAR1 not really", "holds no rows"),
    ],
)
def test_csv_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """What is no usable CSV file gives a BaselineError that says why."""
    with pytest.raises(BaselineError, match=says):
        build_text(tmp_path, content)


def test_later_bytes_that_are_no_utf8_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is not UTF-8 is found wherever it stands."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 256)
    with pytest.raises(BaselineError, match="'b': is no UTF-8 text"):
        build_text(tmp_path, b"a,b\n" + b"1,x\n" * 500 + b"1,\xe9\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.parquet", b""),
        ("d.parquet", b"a,b\n1,2\n"),
        ("d.csv.gz", b"a,b\n1,2\n"),
        ("d.csv.gz", gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 5000, mtime=0)[:-20]),
    ],
)
def test_broken_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A file that is not what its name says, or is cut short, is named."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BaselineError, match=f"{name}: "):
        build_baseline(DataFiles([path]), OPTIONS)


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    """All files must have the same columns, in any order."""
    for name, text in (
        ("1.csv", "a,b\n1,2\n"),
        ("2.csv", "b,a\n2,1\n"),
        ("3.csv", "a\n1\n"),
        ("4.csv", "a,b,c\n1,2,3\n"),
    ):
        (tmp_path / name).write_text(text)
    baseline, _ = build_baseline(DataFiles([tmp_path / "1.csv", tmp_path / "2.csv"]), OPTIONS)
    assert feature(baseline, "a").bins == NumericBins((), 1.0, 1.0, whole=True)
    with pytest.raises(BaselineError, match=r"3\.csv: has no column 'b'"):
        DataFiles([tmp_path / "1.csv", tmp_path / "3.csv"])
    with pytest.raises(BaselineError, match=r"1\.csv: has no column 'c'"):
        DataFiles([tmp_path / "1.csv", tmp_path / "4.csv"])
    with pytest.raises(BaselineError, match="no file"):
        DataFiles([])


def test_progress_reaches_the_size_in_each_pass(csv: Path, tmp_path: Path) -> None:
    """Both passes report all bytes of all files."""
    parquet = tmp_path / "f.parquet"
    pd.read_csv(csv).to_parquet(parquet, index=False)
    data = DataFiles([csv, parquet], exclude=["time_hour"])
    read: list[int] = []

    def on_pass(number: int) -> Any:
        assert number == len(read) + 1
        read.append(0)

        def advance(size: int) -> None:
            assert size >= 0
            read[-1] += size

        return advance

    build_baseline(data, builder.Options(model="m", version="1", exclude=("time_hour",)), on_pass)
    assert read == [data.size, data.size]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file ten times as large takes about the same memory."""
    code = (
        "import resource, sys; from pathlib import Path; from windvane import _baseline_builder as b; "
        "from windvane_processors.reference import DataFiles, build_baseline; "
        "build_baseline(DataFiles([Path(sys.argv[1])]), b.Options(model='m', version='1')); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    rows = "".join(f"{i % 997}.{i % 89},{i % 13},k{i % 31}\n" for i in range(200_000))
    for times in (1, 10):
        path = tmp_path / "d.csv"
        with path.open("w") as stream:
            stream.write("x,y,z\n")
            for _ in range(times):
                stream.write(rows)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 60
