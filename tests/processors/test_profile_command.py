"""`windvane profile` shows, compares, merges and exports, and says of what it cannot read what to do."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windvane.baseline import Baseline
from windvane.cli import main
from windvane.profiles import DatasetProfile
from windvane_processors.profile.comparison import compare
from windvane_processors.profile.page import html_page
from windvane_processors.profile.summary import QUANTILES, summarize
from windvane_processors.profile_store import Part, ProfileStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

HOSTILE = "\x1b[31m<script>alert(1)</script>\n\"\u202e'&"
MODEL = {"ml.model.name": "flight-delay", "ml.model.version": "3"}


def make_columns(rows: int, seed: int, factor: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    wind = rng.normal(10, 3, rows)
    wind[rng.random(rows) < 0.02] = np.nan
    return {
        "distance": rng.gamma(3, 300, rows) * factor,
        "seats": rng.poisson(120, rows),
        "wind": wind,
        "carrier": rng.choice(["AA", "UA", "DL"], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "night": rng.random(rows) < 0.3,
        "empty": [None] * rows,
    }


def make_profile(columns: dict[str, Any]) -> DatasetProfile:
    profile = DatasetProfile(metadata=MODEL, dataset_timestamp=datetime(2026, 11, 23, 14, tzinfo=UTC))
    profile.track(columns)
    return profile


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reference, a clean, a drifted and a damaged profile, and a baseline."""
    path = tmp_path_factory.mktemp("profiles")
    reference = make_profile(make_columns(20_000, 0)).serialize()
    (path / "reference.bin").write_bytes(reference)
    (path / "clean.bin").write_bytes(make_profile(make_columns(5000, 1)).serialize())
    (path / "drifted.bin").write_bytes(make_profile(make_columns(5000, 2, factor=1.609344)).serialize())
    (path / "cut.bin").write_bytes(reference[: len(reference) // 2])
    (path / "foreign.bin").write_bytes(b"PAR1" + bytes(100))
    (path / "nothing.bin").write_bytes(b"")
    (path / "hostile.bin").write_bytes(make_profile({HOSTILE: [HOSTILE, "a"] * 100}).serialize())
    columns = {name: values for name, values in make_columns(20_000, 0).items() if name != "empty"}
    columns["carrier"] = np.array(columns["carrier"], dtype=object)
    Baseline.from_frame(columns, model="flight-delay", version="3").save(path / "baseline.json")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one model in two versions; version 3 has two windows a day apart."""
    path = tmp_path_factory.mktemp("store")
    opened = ProfileStore(str(path))
    for version, days, seed, rows in (("3", 0, 3, 700), ("3", 1, 4, 300), ("4", 1, 5, 100)):
        start = datetime(2026, 11, 22, 14, tzinfo=UTC) + timedelta(days=days)
        body = make_profile(make_columns(rows, seed)).serialize()
        opened.put(Part("flight-delay", version, int(start.timestamp()), 300, f"{seed:032x}", 0, body))
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `windvane profile` among the files; returns exit code, standard output and standard error."""
    monkeypatch.chdir(folder)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(["profile", *map(str, arguments)])
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_show_prints_each_column(run: Run) -> None:
    """A table with a line for each column, and at last what it is of."""
    code, out, _ = run("show", "reference.bin")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:3] == ["column", "type", "n"]
    assert [line.split()[0] for line in lines[1:-1]] == ["carrier", "distance", "empty", "night", "seats", "wind"]
    assert "AA 49." in lines[1] or "AA 50." in lines[1]
    assert lines[-1] == "flight-delay 3: 20,000 rows, 6 columns, of 2026-11-23T14:00:00+00:00."


def test_show_as_json_has_every_number(run: Run) -> None:
    """Counts, moments, quantiles, distinct values and frequent items are those of the rows."""
    code, out, _ = run("show", "reference.bin", "--json")
    document = json.loads(out)
    columns = {column["name"]: column for column in document["columns"]}
    rows = make_columns(20_000, 0)
    assert (code, document["model"], document["version"], document["rows"]) == (0, "flight-delay", "3", 20_000)
    wind = rows["wind"][~np.isnan(rows["wind"])]
    assert columns["wind"]["missing"] == 20_000 - wind.size
    assert columns["wind"]["mean"] == pytest.approx(wind.mean())
    assert columns["wind"]["standard_deviation"] == pytest.approx(wind.std(ddof=1))
    assert (columns["wind"]["minimum"], columns["wind"]["maximum"]) == (wind.min(), wind.max())
    for rank in QUANTILES:
        assert np.mean(wind <= columns["wind"][f"q{rank * 100:02.0f}"]) == pytest.approx(rank, abs=0.005)
    assert columns["carrier"]["distinct"] == pytest.approx(3)
    assert columns["carrier"]["frequent_items"][0]["estimate"] == rows["carrier"].count("AA")
    assert (columns["empty"]["type"], columns["empty"]["mean"], columns["empty"]["n"]) == ("empty", None, 20_000)


def test_a_profile_comes_from_standard_input(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads it there."""
    content = io.BytesIO((folder / "clean.bin").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    code, out, _ = run("show", "-")
    assert (code, "5,000 rows" in out) == (0, True)


def test_what_names_hold_never_reaches_the_terminal(run: Run) -> None:
    """Control and direction characters are shown as escapes."""
    for arguments in (("show", "hostile.bin"), ("compare", "hostile.bin", "hostile.bin")):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "\\x1b" in out


def test_a_clean_profile_passes(run: Run) -> None:
    """Nothing is found, and the exit code is 0."""
    code, out, _ = run("compare", "reference.bin", "clean.bin", "--fail-on-drift")
    assert code == 0
    assert out.splitlines()[-1] == (
        "0 of 5 columns shifted, 1 not compared: flight-delay 3, 5,000 rows of 2026-11-23 14:00 UTC against "
        "flight-delay 3, 20,000 rows of 2026-11-23 14:00 UTC."
    )


def test_drift_is_told_and_fails_on_demand(run: Run) -> None:
    """The drifted column comes first with its change of unit; only with the option is the exit code 2."""
    code, out, _ = run("compare", "reference.bin", "drifted.bin")
    lines = out.splitlines()
    assert code == 0
    assert lines[1].split()[:5] == ["distance", "float", "shifted", "(large)", "100.0%"]
    assert "distance: a change of unit? x 1.609: miles to kilometres or mph to km/h" in lines
    assert run("compare", "reference.bin", "drifted.bin", "--fail-on-drift")[0] == 2


def test_a_baseline_is_a_reference(run: Run) -> None:
    """A file that ends in .json is one."""
    code, out, _ = run("compare", "baseline.json", "drifted.bin", "--json")
    document = json.loads(out)
    assert (code, document["drifted"], document["reference"]["kind"]) == (0, True, "baseline")
    first = document["columns"][0]
    assert (first["name"], first["verdict"], first["grade"]) == ("distance", "shifted", "large")
    assert first["unit_change"][0]["units"][0] == ["miles", "kilometres"]
    assert {column["name"] for column in document["columns"]} == set(make_columns(1, 0))


def test_a_store_is_chosen_from(run: Run, store: Path) -> None:
    """By version and time; windows that overlap it count."""

    def rows(*options: str) -> int:
        code, out, err = run("show", store, "--json", *options)
        assert code == 0, err
        return int(json.loads(out)["rows"])

    assert rows("--version", "3") == 1000
    assert rows("--model", "flight-delay", "--version", "4") == 100
    assert rows("--version", "3", "--from", "2026-11-23T00:00Z") == 300
    assert rows("--version", "3", "--to", "2026-11-23") == 700


def test_times_of_one_store_are_compared(run: Run, store: Path) -> None:
    """The reference has options of its own."""
    day = ["--version", "3", "--from", "2026-11-23", "--reference-to", "2026-11-23"]
    code, out, _ = run("compare", store, store, *day, "--json")
    document = json.loads(out)
    assert (code, document["reference"]["rows"], document["current"]["rows"]) == (0, 700, 300)
    code, out, _ = run("compare", store, store, "--version", "4", "--reference-version", "3", "--json")
    document = json.loads(out)
    assert (code, document["reference"]["rows"], document["current"]["rows"]) == (0, 1000, 100)


def test_profiles_are_merged(run: Run, folder: Path, tmp_path: Path) -> None:
    """The result is that of the library, and no part of a file is left beside it."""
    out = tmp_path / "merged.bin"
    code, printed, _ = run("merge", "reference.bin", "clean.bin", "drifted.bin", "-o", out)
    assert code == 0
    assert printed.endswith("merged.bin: 3 profiles, 30,000 rows, 6 columns.\n")
    merged = DatasetProfile.deserialize(out.read_bytes())
    assert merged.columns["carrier"].counts.n == 30_000
    assert merged.columns["distance"].quantiles is not None
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("command", ["merge", "export"])
def test_a_file_is_not_overwritten_without_force(run: Run, tmp_path: Path, command: str) -> None:
    """It stays as it was; with the option it is replaced."""
    out = tmp_path / "out.bin"
    out.write_bytes(b"mine")
    code, _, err = run(command, "clean.bin", "-o", out)
    assert code == 1
    assert err.endswith("out.bin: exists; name another file, or add --force to replace it\n")
    assert out.read_bytes() == b"mine"
    assert run(command, "clean.bin", "-o", out, "--force")[0] == 0
    assert DatasetProfile.deserialize(out.read_bytes()).columns["seats"].counts.n == 5000


def test_exports_hold_the_same_numbers(run: Run, folder: Path, tmp_path: Path) -> None:
    """JSON, CSV and Parquet have a row for each column, as `summarize` has."""
    expected = [
        column.to_dict() for column in summarize(DatasetProfile.deserialize((folder / "clean.bin").read_bytes()))
    ]
    for suffix in ("json", "csv", "parquet"):
        assert run("export", "clean.bin", "-o", tmp_path / f"out.{suffix}")[0] == 0
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(expected))
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert table == expected
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, column in zip(rows, expected, strict=True):
        assert json.loads(row.pop("frequent_items")) == [dict(item) for item in column["frequent_items"]]
        for name, value in row.items():
            assert value == ("" if column[name] is None else str(column[name]))


def test_a_whylogs_file_is_exported_as_it_is(run: Run, folder: Path, tmp_path: Path) -> None:
    """So a profile of a store becomes a file."""
    assert run("export", "clean.bin", "-o", tmp_path / "out.bin")[0] == 0
    assert (tmp_path / "out.bin").read_bytes() == (folder / "clean.bin").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "cut.bin"), "cut.bin: a column's chunk is no column, or longer than the profile; name a file that"),
        (("show", "foreign.bin"), "foreign.bin: this is no whylogs profile: it does not begin with WHY1; name a file"),
        (("show", "nothing.bin"), "nothing.bin: this is no whylogs profile: it does not begin with WHY1; name a file"),
        (("show", "absent.bin"), "absent.bin: cannot be read: No such file or directory; name a whylogs file"),
        (("show", "clean.bin", "--model", "m"), "clean.bin: a file is taken whole; leave out what chooses a model"),
        (("show", "nowhere://x"), "nowhere://x: cannot be a store of profiles"),
        (("compare", "clean.bin", "cut.bin"), "cut.bin: "),
        (("compare", "clean.bin", "hostile.bin"), "reference and current profile have no column in common"),
        (("compare", "-", "-"), "standard input: cannot be both sides; name a file for one of them"),
        (("compare", "absent.json", "clean.bin"), "absent.json: cannot be read: No such file or directory"),
        (("compare", "clean.bin", "clean.bin", "--html", "no/page.html"), "no/page.html: cannot be written: No such"),
        (("merge", "clean.bin", "cut.bin", "-o", "merged.bin"), "cut.bin: "),
        (("export", "clean.bin", "-o", "out.xlsx"), "out.xlsx: cannot tell the format; name it .json, .csv, .parquet"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(run: Run, folder: Path, arguments: tuple[str, ...], told: str) -> None:
    """The line names the file and what to do; nothing is written."""
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"windvane: {told}")
    assert err.count("\n") == 1
    assert not (folder / "merged.bin").exists()


def test_a_folder_without_profiles_is_told(run: Run, tmp_path: Path) -> None:
    """It is no store yet."""
    code, _, err = run("show", tmp_path)
    assert code == 1
    assert "holds no profiles; name the folder or address that `windvane process` writes to" in err


def test_what_a_store_lacks_is_told_with_what_it_has(run: Run, store: Path) -> None:
    """Models, versions and times are listed."""
    assert "choose one with --model and --version; there are flight-delay 3, flight-delay 4" in run("show", store)[2]
    assert "has no such model and version; there are flight-delay 3" in run("show", store, "--model", "other")[2]
    err = run("show", store, "--version", "3", "--to", "2026-01-01")[2]
    assert "has no profile of flight-delay 3 in this time; there are some from 2026-11-22T14:00Z to " in err


@pytest.mark.parametrize("time", ["yesterday", "24", "2026-13-01", "999999w"])
def test_a_time_that_is_none_is_refused(run: Run, store: Path, time: str) -> None:
    """The message shows both ways to write one."""
    code, _, err = run("show", store, "--version", "3", "--from", time)
    assert code == 2
    assert "is no time; write 2026-11-23T14:00Z, or 24h for so long ago" in err


class Page(HTMLParser):
    """What a page holds: its tags, its attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_written_and_needs_nothing_else(run: Run, tmp_path: Path) -> None:
    """It names no other address, forbids every request, and each plot has a title and a text."""
    out = tmp_path / "page.html"
    assert run("compare", "reference.bin", "drifted.bin", "--html", out)[0] == 0
    text = out.read_text()
    page = Page(text)
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|\bsrc=|\bon\w+=", text)
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    assert any(value and value.startswith("default-src 'none'; style-src 'sha256-") for _, value in page.attributes)
    plots = page.tags.count("svg") - text.count('aria-hidden="true"')
    assert plots == text.count("<desc") == 9  # bars for five columns, curves for the four of numbers
    assert page.tags.count("article") == 6
    assert "1 of 5" in page.text
    assert "a change of unit? x 1.609: miles to kilometres or mph to km/h" in page.text
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    for target in [value for name, value in page.attributes if name == "href"]:
        assert target is not None
        assert target[1:] in ids


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "</style><b>", '"onmouseover="x', "&lt;b&gt;", "]]><!--", HOSTILE]
)


@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    values=st.lists(NAMES, min_size=1, max_size=4),
    model=NAMES,
)
def test_hostile_names_are_text_in_the_page(names: list[str], values: list[str], model: str) -> None:
    """Whatever columns, categories and models are called, the page has the same tags as with harmless names."""

    def page(columns: list[str], before: list[str], after: list[str], model_name: str) -> Page:
        sides = []
        for items in (before, after):
            profile = DatasetProfile(metadata={"ml.model.name": model_name, "ml.model.version": model_name})
            profile.track(dict.fromkeys(columns, items * 200))
            sides.append(profile)
        return Page(html_page(compare(*sides)))

    harmless = {value: f"v{i}" for i, value in enumerate(sorted({*values, "other"}))}
    found = page(names, values, [*values[1:], "other"], model)
    expected = page(
        [f"n{i}" for i in range(len(names))],
        [harmless[value] for value in values],
        [harmless[value] for value in [*values[1:], "other"]],
        "m",
    )
    assert sorted(found.tags) == sorted(expected.tags)
    assert sorted(name for name, _ in found.attributes) == sorted(name for name, _ in expected.attributes)
    assert all(character.isprintable() or character == "\n" for character in found.text)


def test_a_page_of_300_columns_is_small() -> None:
    """Less than a megabyte where all have shifted, with both plots for each."""
    rng = np.random.default_rng(0)
    sides = []
    for shift in (0.0, 0.3):
        profile = DatasetProfile()
        for i in range(300):
            values = rng.normal(shift, 1, 2000)
            values[rng.random(2000) < 0.1 * (1 + 2 * shift)] = np.nan
            profile.track({f"a column with a long name {i}": values})
        sides.append(profile)
    page = html_page(compare(*sides))
    assert page.count("<article") == 300
    assert len(page.encode()) < 1_000_000
