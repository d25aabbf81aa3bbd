"""`windvane check` passes what is as the reference, and says of the rest what is wrong."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from windvane import semconv
from windvane.baseline import Baseline, BaselineWarning
from windvane.cli import main
from windvane.snapshot import feature_drift
from windvane_dashboards.rules import Alert, health, rule_set
from windvane_processors.check import FAIL_ON, batch, count_batch, judge
from windvane_processors.check.report import BROKEN_EXCESS, GRADES
from windvane_processors.demo.flights import FEATURES, LABEL, flights_after_training, training_flights
from windvane_processors.reference import files

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 6000


def make_frame(rows: int, seed: int) -> pd.DataFrame:
    """Make rows of independent columns of each type."""
    rng = np.random.default_rng(seed)
    wind = rng.normal(10, 3, rows)
    wind[rng.random(rows) < 0.02] = np.nan
    return pd.DataFrame(
        {
            "distance": rng.gamma(3, 300, rows).round(1),
            "seats": rng.poisson(120, rows),
            "wind": wind.round(2),
            "carrier": rng.choice(["AA", "UA", "DL", "007"], rows, p=[0.4, 0.3, 0.2, 0.1]),
            "night": rng.random(rows) < 0.3,
            "flight": np.arange(rows),
            "score": rng.beta(2, 5, rows).round(4),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a baseline and a clean batch."""
    path = tmp_path_factory.mktemp("check")
    importances = {"distance": 5, "seats": 1, "wind": 2, "carrier": 1, "night": 1}
    Baseline.from_frame(
        make_frame(20_000, 0),
        model="flight-delay",
        version="3",
        output="score",
        exclude=["flight"],
        importances=importances,
    ).save(path / "baseline.json")
    make_frame(ROWS, 1).to_parquet(path / "clean.parquet", index=False)
    return path


@pytest.fixture
def check(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command on a frame, text or path; return exit code, standard output and standard error."""

    def run(data: Any, *options: str | Path, suffix: str = ".csv") -> tuple[int, str, str]:
        path = data if isinstance(data, Path) else tmp_path / f"batch{suffix}"
        if isinstance(data, pd.DataFrame) and suffix == ".parquet":
            data.to_parquet(path, index=False)
        elif isinstance(data, pd.DataFrame):
            data.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
        elif isinstance(data, bytes):
            path.write_bytes(data)
        baseline = () if "--baseline" in options else ("--baseline", folder / "baseline.json")
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in ("check", path, *baseline, *options)])
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return run


def report_of(output: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Read the JSON report; return it, and its features by name."""
    report = json.loads(output)
    return report, {feature["name"]: feature for feature in report["features"]}


def test_a_batch_like_the_reference_passes(folder: Path, check: Any) -> None:
    """Exit code 0, a table with every feature, and the verdict in the last line."""
    code, out, err = check(folder / "clean.parquet")
    assert code == 0, out
    assert err == ""
    baseline = Baseline.load(folder / "baseline.json")
    lines = out.splitlines()
    assert {line.split()[0] for line in lines[1 : 1 + len(baseline.features)]} == {f.name for f in baseline.features}
    assert lines[-1] == f"PASSED, 6,000 rows against flight-delay 3 (baseline {baseline.id})"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_distance_in_kilometres_fails_and_is_named(check: Any, suffix: str) -> None:
    """The most important drift is first, and its factor is read as miles to kilometres."""
    frame = make_frame(ROWS, 2)
    frame["distance"] *= 1.609
    frame["seats"] += 4
    code, out, _ = check(frame, "--json", suffix=suffix)
    assert code == 1
    report, features = report_of(out)
    assert report["verdict"] == "fail"
    first, second, *_ = report["features"]
    assert (first["name"], first["grade"]) == ("distance", "large")
    assert (second["name"], second["unit_change"]) == ("seats", [])
    assert ["miles", "kilometres"] in first["unit_change"][0]["units"]
    assert sum(f["contribution"] for f in features.values() if f["role"] == "input") == pytest.approx(1)
    assert features["score"]["contribution"] is None
    _, out, _ = check(frame, suffix=suffix)
    (line,) = (line for line in out.splitlines() if line.startswith("FAIL  distance: "))
    assert line.endswith("a change of unit? x 1.609: miles to kilometres or mph to km/h")
    assert "FAILED: 2 findings" in out.splitlines()[-1]


def test_real_flights_in_kilometres_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """February's flights against January's: the distance in kilometres is a change of unit, in miles it is not."""
    flights = training_flights()[[*FEATURES, LABEL]]
    baseline = tmp_path / "flights.json"
    Baseline.from_frame(flights, model="flight-delay", version="1", output=LABEL).save(baseline)
    later = pd.DataFrame([flight.row for flight, _ in zip(flights_after_training(), range(20_000), strict=False)])
    units = {}
    for unit, factor in (("miles", 1.0), ("kilometres", 1.609344)):
        path = tmp_path / f"{unit}.parquet"
        later.assign(distance=later["distance"] * factor).to_parquet(path, index=False)
        with pytest.raises(SystemExit):
            main(["check", str(path), "--baseline", str(baseline), "--json"])
        _, features = report_of(capsys.readouterr().out)
        units[unit] = features["distance"]["unit_change"]
    assert units["miles"] == []
    assert ["miles", "kilometres"] in units["kilometres"][0]["units"]


def test_counts_and_statistics_are_those_of_a_serving_process(folder: Path) -> None:
    """PSI, floor, Hellinger and missing share equal a snapshot's, and every excess is the alert's formula."""
    baseline = Baseline.load(folder / "baseline.json")
    path = folder / "broken.parquet"
    frame = make_frame(ROWS, 3)
    frame.loc[: ROWS // 2, "wind"] = np.nan
    frame.to_parquet(path, index=False)
    counted = count_batch([path], baseline)
    report = {feature.name: feature for feature in judge(counted, baseline).features}
    for feature in baseline.features:
        tally = counted.tallies[feature.name]
        if feature.role != "derived":
            counts, violations = feature.bins.count(frame[feature.name].to_numpy())
            assert (tally.counts.tolist(), tally.violations.tolist()) == (counts.tolist(), violations.tolist())
        drift = feature_drift(feature, dict(zip(feature.bins.labels, tally.counts.tolist(), strict=True)), {})
        found = report[feature.name]
        assert found.psi == pytest.approx(drift.psi, rel=1e-12)
        assert found.hellinger == pytest.approx(drift.hellinger, abs=1e-9)
        assert found.noise_floor == pytest.approx(drift.noise_floor, rel=1e-12)
        assert found.shifted is drift.shifted
        assert found.missing_share == drift.missing_share
    missing = report["wind"].violations["missing"]
    assert missing.excess == pytest.approx(
        (missing.share - missing.reference_share) / (1 - missing.reference_share), rel=1e-12
    )
    assert [finding.kind for finding in report["wind"].findings] == ["violations", "drift"]


def test_thresholds_are_those_of_the_alerts() -> None:
    """Broken and the grades of a shift mean here what the alerts' rules say."""
    assert BROKEN_EXCESS == health.BROKEN
    drift = next(
        rule for group in rule_set().alerts for rule in group.rules if getattr(rule, "name", "") == "MLFeatureDrift"
    )
    assert isinstance(drift, Alert)
    for grade, least in GRADES.items():
        if least:
            assert f"gt $value {least:g} }}}}{grade}" in drift.annotations["description"]


def test_fail_on_chooses_what_fails(check: Any) -> None:
    """Drift fails by its grade, violations and unexpected columns by name; what does not fail is still shown."""
    frame = make_frame(ROWS, 4)
    frame["distance"] *= 1.15
    frame["gate"] = 1
    _, features = report_of(check(frame, "--json")[1])
    grade = features["distance"]["grade"]
    assert grade in {"small", "moderate"}
    codes = {choice: check(frame, "--fail-on", choice)[0] for choice in FAIL_ON}
    assert codes == {
        "violations": 0,
        "drift": 1,
        "small-drift": 1,
        "moderate-drift": int(grade == "moderate"),
        "large-drift": 0,
        "unexpected": 1,
    }
    code, out, _ = check(frame, "--fail-on", "violations")
    assert code == 0
    assert "note  distance: " in out
    assert "note  gate: the baseline does not know this column" in out
    frame.loc[: ROWS // 3, "carrier"] = "ZZ"
    code, out, _ = check(frame, "--fail-on", "violations")
    assert code == 1
    assert "FAIL  carrier: 33.4% of the values are violations of kind category (0.0% in the reference)" in out


def test_a_missing_column_fails_and_names_the_column_to_rename(check: Any) -> None:
    """The absent input's values count as missing, and a column with a name like it is proposed."""
    frame = make_frame(ROWS, 5).rename(columns={"distance": "distanse"})
    code, out, _ = check(frame)
    assert code == 1
    assert "FAIL  distance: the data has no such column; rename the column 'distanse'" in out
    assert "note  distanse: the baseline does not know this column; rename it to 'distance'" in out
    report, features = report_of(check(frame.drop(columns=["distanse", "score"]), "--json", "--fail-on", "drift")[1])
    assert report["missing_columns"] == ["distance"]
    assert features["distance"]["missing_share"] == 1
    assert features["distance"]["findings"][0]["message"].endswith("add the column")
    assert "score" not in features


def test_text_among_numbers_of_a_csv_file_is_a_violation(
    check: Any, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Wherever it stands it counts as type, and the numbers around it as numbers; digits stay the category 007."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 4096)
    frame = make_frame(ROWS, 6)
    text = frame.astype({"distance": object, "seats": object})
    text.loc[ROWS - 5 :, "distance"] = "far"
    text.loc[3000, "seats"] = "1_0"
    report, features = report_of(check(text, "--json")[1])
    assert report["verdict"] == "pass"
    assert features["distance"]["violations"]["type"]["observations"] == 5
    assert features["seats"]["violations"]["type"]["observations"] == 1
    assert features["wind"]["missing_share"] == pytest.approx(frame["wind"].isna().mean())
    path = folder / "sevens.csv"
    frame[frame["carrier"] == "007"].to_csv(path, index=False)
    counted = count_batch([path], Baseline.load(folder / "baseline.json"))
    assert counted.tallies["carrier"].violations.sum() == 0
    assert counted.rows == (frame["carrier"] == "007").sum()


def test_numbers_written_as_text_in_parquet_are_violations(check: Any) -> None:
    """A Parquet file has types, so text is what a service would be given."""
    frame = make_frame(ROWS, 7).astype({"distance": str})
    code, out, _ = check(frame, suffix=".parquet")
    assert code == 1
    assert "FAIL  distance: 100.0% of the values are violations of kind type" in out


def test_several_files_are_one_batch_whatever_the_chunks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSV and Parquet in parts count as the whole does, read in blocks of any size, and give the same report."""
    baseline = Baseline.load(folder / "baseline.json")
    frame = make_frame(ROWS, 8)
    frame["distance"] *= 1000
    frame.to_parquet(tmp_path / "whole.parquet", index=False)
    frame[:2500].to_csv(tmp_path / "1.csv", index=False)
    frame[2500:].to_parquet(tmp_path / "2.parquet", index=False)
    monkeypatch.setattr(batch, "_SAMPLE_ROWS", 1000)
    whole = judge(count_batch([tmp_path / "whole.parquet"], baseline), baseline).to_dict()
    monkeypatch.setattr(files, "_BLOCK_BYTES", 2048)
    monkeypatch.setattr(files, "_BATCH_ROWS", 77)
    read: dict[Path, int] = {}

    def on_file(path: Path) -> Callable[[int], None]:
        read[path] = 0

        def advance(size: int) -> None:
            read[path] += size

        return advance

    paths = [tmp_path / "1.csv", tmp_path / "2.parquet"]
    parts = judge(count_batch(paths, baseline, on_file), baseline).to_dict()
    assert parts == whole
    assert whole["features"][0]["unit_change"]
    assert read == {path: path.stat().st_size for path in paths}


def test_junit_has_one_case_for_each_feature(check: Any, tmp_path: Path) -> None:
    """The numbers fit the cases, failures carry type and message, and names that XML cannot carry are escaped."""
    frame = make_frame(ROWS, 9).rename(columns={"seats": "se\x07ats<&"})
    frame["distance"] *= 1.609
    path = tmp_path / "junit.xml"
    assert check(frame, "--junit", path, suffix=".parquet")[0] == 1
    suites = ET.parse(path).getroot()  # noqa: S314 - written by the command above
    assert suites.tag == "testsuites"
    (suite,) = suites
    cases = suite.findall("testcase")
    assert [child.tag for child in suite] == ["properties", *["testcase"] * len(cases)]
    failed = {case.get("name"): case.find("failure") for case in cases if case.find("failure") is not None}
    assert set(failed) == {"distance", "seats", "reconstruction_error"}
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(len(cases)), "3", "0")
    assert {case.get("name") for case in cases} >= {"wind", "carrier", "night", "score", "se\\x07ats<&"}
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    failure = failed["distance"]
    assert failure is not None
    assert failure.get("type") == "drift"
    assert "miles to kilometres" in (failure.get("message") or "")
    assert failure.text == failure.get("message")
    assert float(suite.get("time") or "nan") >= 0


def test_the_json_report_keeps_its_fields(check: Any, folder: Path) -> None:
    """The fields that docs/check.md describes, and plain finite numbers only."""
    report, features = report_of(check(folder / "clean.parquet", "--json")[1])
    assert list(report) == [
        *("data", "verdict", "rows", "baseline", "fail_on", "missing_columns", "unexpected_columns", "features"),
    ]
    assert list(report["baseline"]) == ["id", "model", "rows"]
    assert list(features["distance"]) == [
        *("name", "role", "type", "observations", "importance", "contribution", "psi", "noise_floor", "shifted"),
        *("grade", "hellinger", "js_divergence", "total_variation", "chi_squared", "ks", "wasserstein"),
        *("missing_share", "reference_missing_share", "violations", "unit_change", "findings", "failed"),
    ]
    assert list(features["distance"]["chi_squared"]) == ["statistic", "degrees_of_freedom", "p_value"]
    assert set(features["wind"]["violations"]["missing"]) == {"observations", "share", "reference_share", "excess"}
    assert set(features["wind"]["violations"]) <= set(semconv.VIOLATION_KIND.values)
    assert features["carrier"]["ks"] is None
    assert all(math.isfinite(feature["psi"]) for feature in features.values())
    documented = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
    for name in (*report, *features["distance"]):
        assert f"`{name}`" in documented, name


def test_what_cannot_be_judged_ends_in_one_line_and_code_2(check: Any, folder: Path, tmp_path: Path) -> None:
    """Foreign and other models' baselines, empty, tiny and corrupt data, and an unwritable file."""
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"a": 1}')
    other = tmp_path / "other.json"
    Baseline.from_frame({"age": list(range(500)), "income": list(range(500))}, model="churn", version="2").save(other)
    clean = folder / "clean.parquet"
    empty = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(clean).slice(0, 0), empty)
    corrupt = tmp_path / "corrupt.parquet"
    content = bytearray(clean.read_bytes())
    content[2000:60_000] = b"\xff" * 58_000
    corrupt.write_bytes(content)
    truncated = tmp_path / "truncated.parquet"
    truncated.write_bytes(clean.read_bytes()[:1000])
    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        (clean, ("--baseline", foreign), "foreign.json: "),
        (clean, ("--baseline", tmp_path / "absent.json"), "make it with `windvane baseline build`"),
        (clean, ("--baseline", other), "none of the inputs of the baseline of churn 2 ('age', 'income')"),
        (tmp_path / "absent.csv", (), "absent.csv: cannot be read: No such file"),
        (tmp_path, (), "cannot tell its format"),
        (empty, (), "empty.parquet: the data has no rows"),
        (b"", (), "holds no rows"),
        (b"distance,seats\n", (), "has no rows"),
        (make_frame(99, 1), (), "has 99 rows; less than 100"),
        (corrupt, (), "corrupt.parquet: cannot be read"),
        (truncated, (), "truncated.parquet: cannot be read"),
        (clean, ("--junit", tmp_path / "absent" / "j.xml"), "j.xml: cannot be written"),
    ]
    for data, options, says in cases:
        code, out, err = check(data, *options)
        (line,) = err.splitlines()
        assert says in line
        assert line.startswith("windvane: ")
        assert (code, out) == (2, "")


def test_names_cannot_steer_the_terminal(check: Any) -> None:
    """Control characters in the names of columns are shown as text."""
    frame = make_frame(ROWS, 10).rename(columns={"seats": "\x1b[31mseats"})
    _, out, err = check(frame, suffix=".parquet")
    assert "\x1b" not in out + err
    assert "\\x1b[31mseats" in out


def test_arrow_types_of_files_are_counted_alike(folder: Path, tmp_path: Path) -> None:
    """Dictionary-encoded text, nullable integers and decimals give the counts of plain columns."""
    baseline = Baseline.load(folder / "baseline.json")
    frame = make_frame(ROWS, 11)
    plain = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(plain, tmp_path / "plain.parquet")
    odd = plain.set_column(plain.column_names.index("carrier"), "carrier", plain["carrier"].dictionary_encode())
    odd = odd.set_column(odd.column_names.index("seats"), "seats", odd["seats"].cast(pa.decimal128(21, 2)))
    odd = odd.set_column(odd.column_names.index("distance"), "distance", odd["distance"].cast(pa.float64()))
    pq.write_table(odd, tmp_path / "odd.parquet")
    one, two = (count_batch([tmp_path / f"{name}.parquet"], baseline) for name in ("plain", "odd"))
    for name, tally in one.tallies.items():
        assert tally.counts.tolist() == two.tallies[name].counts.tolist(), name


def test_free_text_and_times_are_judged_too(check: Any, tmp_path: Path) -> None:
    """By length and by the part of the week, in a CSV file; texts of digits alone stay texts."""
    rng = np.random.default_rng(3)

    def write(name: str, first_hour: int, cut: int | None) -> Path:
        hours = pd.Timestamp("2013-01-01") + pd.to_timedelta(first_hour + rng.integers(0, 12, ROWS), unit="h")
        notes = [str(number) * int(times) for number, times in enumerate(rng.integers(1, 9, ROWS))]
        path = tmp_path / name
        pd.DataFrame({"at": hours, "note": [note[:cut] for note in notes]}).to_csv(path, index=False)
        return path

    baseline = tmp_path / "b.json"
    frame = pd.read_csv(write("reference.csv", 0, None), dtype={"note": str})
    with pytest.warns(BaselineWarning, match="free text"):
        Baseline.from_frame(frame, model="m", version="1").save(baseline)
    assert check(write("same.csv", 0, None), "--baseline", baseline)[0] == 0
    code, output, _ = check(write("other.csv", 12, 5), "--baseline", baseline, "--json")
    _, features = report_of(output)
    assert (code, {name for name, feature in features.items() if feature["shifted"]}) == (1, {"at", "note"})
