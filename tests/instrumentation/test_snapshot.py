"""A process shows the drift it has seen so far, by the statistics of the shipped rules."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]
from scipy.spatial.distance import euclidean  # type: ignore[import-untyped]
from scipy.special import rel_entr  # type: ignore[import-untyped]

import windvane
from windvane import semconv
from windvane.baseline import Feature
from windvane.bins import NumericBins
from windvane.snapshot import MIN_OBSERVATIONS, DriftSnapshot, feature_drift
from windvane_dashboards.rules import drift as rules

if TYPE_CHECKING:
    from tests.instrumentation.conftest import Host

COUNTS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=3, max_size=20).filter(
    lambda pairs: sum(live for live, _ in pairs) > 0 and sum(reference for _, reference in pairs) > 0
)


def make_feature(reference: list[int], *, name: str = "x", dispersion: float = 1.0) -> Feature:
    """Make a feature with these counts in its bins, the last two being null and other."""
    missing = [0] * len(semconv.VIOLATION_KIND.values)
    missing[0] = reference[-2]
    edges = tuple(float(i) for i in range(len(reference) - 3))
    return Feature(
        name=name,
        role="input",
        type="float",
        bins=NumericBins(edges, -1.0, 100.0),
        counts=tuple(reference),
        violations=tuple(missing),
        dispersion=dispersion,
    )


def observed(feature: Feature, live: list[int]) -> dict[str, int]:
    return dict(zip(feature.bins.labels, live, strict=True))


def make_model(name: str) -> windvane.Model:
    """Declare a model of three inputs and an output."""
    rng = np.random.default_rng(0)
    frame = {
        "distance": rng.uniform(0, 1000, 5000),
        "wind": rng.normal(10, 3, 5000),
        "carrier": rng.choice(["AA", "UA", "DL"], 5000),
        "score": rng.uniform(size=5000),
    }
    baseline = windvane.Baseline.from_frame(frame, model=name, version="1", output="score")
    return windvane.Model(name, version="1", baseline=baseline)


def serve(model: windvane.Model, rows: int) -> None:
    """Serve rows with the distance in another unit, some winds missing and an unknown carrier among them."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "distance": rng.uniform(0, 1000, rows) * 1.609,
            "wind": rng.normal(10, 3, rows),
            "carrier": rng.choice(["AA", "UA", "DL"], rows),
        }
    )
    frame.loc[: rows // 100 - 1, "wind"] = np.nan
    frame.loc[0, "carrier"] = "ZZ"
    model.predict(lambda _: rng.uniform(size=rows))(frame)


class _Cells(HTMLParser):
    """Reads a table of HTML: its tags and the text of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.add(tag)
        self._in_cell = tag in {"td", "th"}
        if tag == "tr":
            self.rows.append([])
        elif self._in_cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


@given(pairs=COUNTS, dispersion=st.floats(1, 50))
def test_the_statistics_are_those_of_the_rules(pairs: list[tuple[int, int]], dispersion: float) -> None:
    """PSI, Hellinger and the noise floor agree with scipy's parts put together as the rules do."""
    feature = make_feature([reference for _, reference in pairs], dispersion=dispersion)
    drift = feature_drift(feature, observed(feature, [live for live, _ in pairs]), {})

    used = np.array([pair for pair in pairs if sum(pair)], dtype=float)
    p, q = ((used + 0.5) / (used + 0.5).sum(axis=0)).T
    freedom = max(len(used) - 1, 1)
    quantile = stats.norm(1 - 2 / (9 * freedom), math.sqrt(2 / (9 * freedom))).ppf(stats.norm.cdf(3.09)) ** 3 * freedom
    floor = (1 / used[:, 0].sum() + 1 / used[:, 1].sum()) * quantile * dispersion
    assert drift.psi == pytest.approx(rel_entr(p, q).sum() + rel_entr(q, p).sum(), rel=1e-9, abs=1e-12)
    assert drift.hellinger == pytest.approx(euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2), rel=1e-6, abs=1e-7)
    assert drift.noise_floor == pytest.approx(floor, rel=1e-9)
    assert drift.psi_over_floor == pytest.approx(drift.psi / floor, rel=1e-9)


@pytest.mark.parametrize("bins", [2, 5, 10, 12, 50])
def test_the_noise_floor_is_the_chi_squared_quantile(bins: int) -> None:
    """Wilson and Hilferty's approximation is within four per cent of the exact 0.999 quantile."""
    feature = make_feature([100] * bins + [0, 0])
    drift = feature_drift(feature, observed(feature, [10] * bins + [0, 0]), {})
    exact = stats.chi2.ppf(0.999, bins - 1) * (1 / (10 * bins) + 1 / (100 * bins))
    assert drift.noise_floor == pytest.approx(exact, rel=0.04)


def test_chance_alone_hardly_ever_passes_the_floor() -> None:
    """Without drift about one window in a thousand is called shifted."""
    rng = np.random.default_rng(7)
    feature = make_feature([1000] * 10 + [0, 0])
    shares = np.full(10, 0.1)
    shifted = 0
    for _ in range(2000):
        reference = make_feature([*rng.multinomial(5000, shares).tolist(), 0, 0])
        live = [*rng.multinomial(1000, shares).tolist(), 0, 0]
        shifted += feature_drift(reference, observed(feature, live), {}).shifted is True
    assert shifted <= 10


def test_the_thresholds_are_the_rules_own() -> None:
    """The snapshot and the rules speak from the same number of rows, with the same constants."""
    from windvane_dashboards.rules.timings import MIN_ROWS  # noqa: PLC0415 - only this test needs it

    assert MIN_OBSERVATIONS == MIN_ROWS
    text = "\n".join(rule.expr for group in rules.recording(_timings(), ()) for rule in group.rules)
    assert "+ 3.09 * sqrt(" in text
    assert "+ 0.5)" in text


def _timings() -> Any:
    from windvane_dashboards.rules.timings import Timings  # noqa: PLC0415

    return Timings()


def test_a_verdict_needs_a_hundred_observations() -> None:
    """Below that there is no yes and no no, with none there are no statistics either."""
    feature = make_feature([500, 500, 0, 0])
    few = feature_drift(feature, observed(feature, [99, 0, 0, 0]), {})
    enough = feature_drift(feature, observed(feature, [100, 0, 0, 0]), {})
    none = feature_drift(feature, {}, {})
    assert (few.shifted, enough.shifted, none.shifted) == (None, True, None)
    assert few.psi is not None
    assert (none.psi, none.hellinger, none.noise_floor, none.missing_share, none.psi_over_floor) == (None,) * 5


def test_a_snapshot_shows_what_the_process_has_seen(host: Host, model_name: str) -> None:
    """The shifted feature comes first; missing shares and violations stand beside the drift."""
    model = make_model(model_name)
    serve(model, 1000)
    snapshot = model.snapshot()
    assert (snapshot.model, snapshot.version, snapshot.rows) == (model_name, "1", 1000)
    by_name = {feature.name: feature for feature in snapshot.features}
    assert snapshot.features[0] is by_name["distance"]
    assert by_name["distance"].shifted is True
    assert by_name["distance"].violations["range"] > 300
    assert by_name["carrier"].shifted is False
    assert by_name["carrier"].violations == {"missing": 0, "unexpected": 0, "type": 0, "range": 0, "category": 1}
    assert by_name["wind"].missing_share == 0.01
    assert by_name["wind"].reference_missing_share == 0
    assert by_name["score"].role == "output"
    assert by_name["score"].observations == 1000
    ratios = [feature.psi_over_floor for feature in snapshot.features if feature.psi_over_floor is not None]
    assert ratios == sorted(ratios, reverse=True)


def test_a_snapshot_waits_for_what_is_queued(host: Host, model_name: str) -> None:
    """A call that has just ended is in it, every time."""
    model = make_model(model_name)
    for calls in range(1, 20):
        serve(model, 100)
        assert model.snapshot().rows == 100 * calls


def test_a_snapshot_changes_nothing_that_is_exported(host: Host, model_name: str) -> None:
    """Looking does not count: what leaves afterwards is what was served."""
    model = make_model(model_name)
    serve(model, 500)
    model.snapshot()
    model.snapshot()
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_NAME.name: "distance"}
    assert sum(value for _, value in host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted)) == 500


def test_features_not_seen_yet_come_last(host: Host, model_name: str) -> None:
    """Before the first call every feature is there, without statistics; one without values stands at the end."""
    model = make_model(model_name)
    assert [feature.psi for feature in model.snapshot().features] == [None] * len(model.snapshot().features)
    with model.prediction([{"distance": 5000.0, "wind": 10.0, "carrier": "AA"}] * 200):
        pass  # no output
    assert model.snapshot().features[-1].name == "score"


def test_a_model_without_a_baseline_says_so(host: Host, model_name: str) -> None:
    """There is nothing to compare with; the rows are counted all the same."""
    model = windvane.Model(model_name, version="1")
    model.predict(lambda _: 1)({"x": 1})
    snapshot = model.snapshot()
    assert (snapshot.rows, snapshot.features) == (1, ())
    assert "no baseline" in str(snapshot)
    assert "no baseline" in snapshot._repr_html_()


def test_the_data_is_plain_and_makes_a_frame(host: Host, model_name: str) -> None:
    """JSON takes the dict as it is, and pandas makes one row of each feature."""
    model = make_model(model_name)
    serve(model, 1000)
    snapshot = model.snapshot()
    document = snapshot.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    frame = pd.DataFrame(document["features"]).set_index("name")
    assert frame.loc["distance", "psi"] == snapshot.features[0].psi
    assert bool(frame.loc["distance", "shifted"]) is True


def test_the_text_is_an_aligned_table(host: Host, model_name: str) -> None:
    """Every column begins or ends at one place, and the numbers are those of the data."""
    model = make_model(model_name)
    serve(model, 1000)
    snapshot = model.snapshot()
    summary, blank, head, *lines = str(snapshot).splitlines()
    shifted = [feature.shifted for feature in snapshot.features]
    assert True in shifted
    assert False in shifted
    assert summary == f"{model_name} 1: 1,000 rows, {shifted.count(True)} of {len(shifted)} features shifted"
    assert repr(snapshot) == f"<DriftSnapshot {summary}>"
    assert blank == ""
    for title, end in (("PSI", "{psi:.4f}"), ("Hellinger", "{hellinger:.4f}"), ("observations", "{observations:,}")):
        column = head.index(f" {title} ") + 1 + len(title)
        for line, feature in zip(lines, snapshot.to_dict()["features"], strict=True):
            assert line[:column].endswith(f" {end.format(**feature)}")
    assert [line.split()[0] for line in lines] == [feature.name for feature in snapshot.features]
    assert [line.split()[2] for line in lines] == ["yes" if yes else "no" for yes in shifted]


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_no_name_breaks_out_of_the_notebooks_table(name: str) -> None:
    """Whatever a feature is called, its name is the text of one cell and no markup."""
    feature = make_feature([500, 500, 0, 0], name=name)
    drift = feature_drift(feature, observed(feature, [60, 60, 0, 0]), {})
    snapshot = DriftSnapshot("m", "1", 120, (drift, drift))
    table = _Cells(snapshot._repr_html_())
    assert table.tags <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    head, first, second = table.rows
    assert len(head) == len(first)
    assert first == second
    assert first[1] == "input"
    assert len(str(snapshot).splitlines()) == 5


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\x1b[2Jb\u202ec"])
def test_hostile_names_are_shown_as_what_they_are(name: str) -> None:
    """Markup is escaped in a notebook, and control characters in a terminal."""
    feature = make_feature([500, 500, 0, 0], name=name)
    snapshot = DriftSnapshot("m", "1", 0, (feature_drift(feature, {}, {}),))
    assert _Cells(snapshot._repr_html_()).rows[1][0] == name.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert "<script" not in snapshot._repr_html_()
    assert "<img" not in snapshot._repr_html_()
    assert str(snapshot).replace("\n", "").isprintable()


def test_a_table_of_very_many_features_is_cut_and_says_so() -> None:
    """A notebook stays usable with thousands of features; the data holds all of them."""
    drift = feature_drift(make_feature([500, 500, 0, 0]), {}, {})
    snapshot = DriftSnapshot("m", "1", 0, (drift,) * 5000)
    assert len(_Cells(snapshot._repr_html_()).rows) == 101
    assert "and 4,900 more features" in snapshot._repr_html_()
    assert str(snapshot).splitlines()[-1].startswith("and 4,900 more features")
    assert len(snapshot.to_dict()["features"]) == 5000


def test_a_snapshot_imports_no_frame_library() -> None:
    """A service that has no pandas can take one, and one that has it does not load it for this."""
    code = (
        "import sys, windvane\n"
        "model = windvane.Model('m', version='1')\n"
        "print(model.snapshot(), model.snapshot()._repr_html_(), file=sys.stderr)\n"
        "print([name for name in ('pandas', 'polars', 'pyarrow', 'scipy', 'IPython') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"
