"""Drift statistics equal scipy's, and chance passes them as often as they say."""

from __future__ import annotations

import doctest
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from scipy.special import rel_entr

from windvane import _statistics, semconv
from windvane.baseline import Feature
from windvane.bins import NumericBins
from windvane.snapshot import feature_drift
from windvane_processors import statistics
from windvane_processors.statistics import CONVERSIONS, samples, unit_change, unit_change_of_samples, units

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from numpy.typing import NDArray

PAIRS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=30).filter(
    lambda pairs: any(live for live, _ in pairs) and any(reference for _, reference in pairs)
)
SAMPLES = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=60)


def sides(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    live, reference = np.array(pairs, dtype=float).T
    return live, reference


def smoothed(live: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[Any, Any]:
    used = live + reference > 0
    p, q = live[used] + 0.5, reference[used] + 0.5
    return p / p.sum(), q / q.sum()


def largest_gap(live: Any, reference: Any) -> float:
    """Return the largest difference of scipy's empirical distribution functions."""
    points = np.concatenate([live, reference])
    return float(np.abs(stats.ecdf(live).cdf.evaluate(points) - stats.ecdf(reference).cdf.evaluate(points)).max())


# --- Equality with scipy ---------------------------------------------------------------------------


@given(PAIRS)
def test_divergences_of_smoothed_shares_equal_scipys(pairs: list[tuple[int, int]]) -> None:
    """PSI is Jeffreys' divergence; JS is scipy's distance squared; Hellinger is the norm of the roots."""
    live, reference = sides(pairs)
    p, q = smoothed(live, reference)
    jeffreys = float(rel_entr(p, q).sum() + rel_entr(q, p).sum())
    assert statistics.psi(live, reference) == pytest.approx(jeffreys, rel=1e-9, abs=1e-12)
    js = float(distance.jensenshannon(p, q, base=2)) ** 2 if len(p) > 1 else 0.0
    assert statistics.js_divergence(live, reference) == pytest.approx(js, rel=1e-9, abs=1e-12)
    hellinger = float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2))
    assert statistics.hellinger(live, reference) == pytest.approx(hellinger, abs=1e-7)


@given(PAIRS, st.floats(1, 20))
def test_chi_squared_equals_scipys_contingency_table(pairs: list[tuple[int, int]], dispersion: float) -> None:
    """Statistic, degrees of freedom and p value agree; dispersion divides the statistic before the p value."""
    live, reference = sides(pairs)
    used = live + reference > 0
    expected = stats.chi2_contingency(np.array([live[used], reference[used]]), correction=False)
    result = statistics.chi_squared(live, reference)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert result.degrees_of_freedom == expected.dof
    # The tail magnifies the last bits of the statistic, so it is judged on our own.
    tail = stats.chi2.sf(result.statistic / dispersion, expected.dof) if expected.dof else 1.0
    corrected = statistics.chi_squared(live, reference, dispersion=dispersion)
    assert corrected.p_value == pytest.approx(tail, rel=1e-8, abs=1e-300)


@given(PAIRS)
def test_ks_and_total_variation_equal_numpys(pairs: list[tuple[int, int]]) -> None:
    """KS is that of the samples which lie in the bins' middles; total variation is half the city-block distance."""
    live, reference = sides(pairs)
    total_variation = distance.cityblock(live / live.sum(), reference / reference.sum()) / 2
    assert statistics.total_variation(live, reference) == pytest.approx(total_variation, abs=1e-12)
    places = np.arange(live.size)
    small, few = (np.minimum(side, 50).astype(int) for side in (live, reference))
    expected = largest_gap(np.repeat(places, small), np.repeat(places, few))
    assert statistics.ks(small, few) == pytest.approx(expected, abs=1e-12)


@given(PAIRS, st.data())
def test_wasserstein_over_bins_is_the_integral_of_the_distribution_functions(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    """It equals scipy's for values spread finely over the bins, and exactly for bins without width."""
    live, reference = sides(pairs)
    widths = data.draw(st.lists(st.integers(0, 9), min_size=live.size, max_size=live.size))
    edges = np.concatenate([[-3.0], -3.0 + np.cumsum(widths)])
    fine = (np.arange(200) + 0.5) / 200
    places = (edges[:-1, None] + np.diff(edges)[:, None] * fine).ravel()
    expected = stats.wasserstein_distance(places, places, np.repeat(live, 200), np.repeat(reference, 200))
    distance_ = statistics.wasserstein(live, reference, edges)
    assert distance_ == pytest.approx(expected, abs=0.02 * max(1, *widths))
    assert statistics.wasserstein(live, reference, edges, scale=4.0) == pytest.approx(distance_ / 4)
    weights = reference / reference.sum()
    mean = float(weights @ np.repeat(places.reshape(live.size, 200).mean(axis=1), 1))
    variance = float(np.repeat(weights / 200, 200) @ (places - mean) ** 2)
    assert statistics.standard_deviation(reference, edges) == pytest.approx(math.sqrt(variance), abs=1e-2)


def test_wasserstein_crosses_within_a_bin() -> None:
    """Where the distribution functions cross inside a bin, both triangles count."""
    ranks = (np.arange(100_000) + 0.5) / 100_000
    live = np.interp(ranks, [0, 0.4, 0.5, 1], [0, 1, 3, 4])
    reference = np.interp(ranks, [0, 0.2, 0.7, 1], [0, 1, 3, 4])
    moved = statistics.wasserstein([4, 1, 5], [2, 5, 3], [0.0, 1.0, 3.0, 4.0])
    assert moved == pytest.approx(stats.wasserstein_distance(live, reference), abs=1e-4)


@given(SAMPLES, SAMPLES)
def test_statistics_of_samples_equal_scipys(live: list[float], reference: list[float]) -> None:
    """KS and Wasserstein of samples are scipy's, ties included."""
    assert statistics.ks_of_samples(live, reference) == pytest.approx(largest_gap(live, reference), abs=1e-12)
    moved = stats.wasserstein_distance(live, reference)
    assert statistics.wasserstein_of_samples(live, reference) == pytest.approx(moved, abs=1e-9)
    assert statistics.wasserstein_of_samples(live, reference, scale=2.0) == pytest.approx(moved / 2, abs=1e-9)


@given(PAIRS, st.floats(1, 50))
def test_a_snapshot_and_the_builder_use_the_same_formulas(pairs: list[tuple[int, int]], dispersion: float) -> None:
    """PSI, Hellinger and the noise floor are those of a serving process's snapshot."""
    live, reference = sides([*pairs, (0, 0), (0, 0)])
    feature = Feature(
        name="x",
        role="input",
        type="float",
        bins=NumericBins(tuple(map(float, range(len(pairs) - 1))), 0.0, 100.0),
        counts=tuple(map(int, reference)),
        violations=(0,) * len(semconv.VIOLATION_KIND.values),
        dispersion=dispersion,
    )
    drift = feature_drift(feature, dict(zip(feature.bins.labels, map(int, live), strict=True)), {})
    assert statistics.psi(live, reference) == pytest.approx(drift.psi, rel=1e-12, abs=1e-15)
    assert statistics.hellinger(live, reference) == pytest.approx(drift.hellinger, abs=1e-7)
    assert statistics.noise_floor(live, reference, dispersion=dispersion) == pytest.approx(drift.noise_floor, rel=1e-12)


@given(PAIRS)
def test_ranges_and_symmetry_hold(pairs: list[tuple[int, int]]) -> None:
    """Every statistic is within its range, does not depend on which side is which, and is 0 for equal sides."""
    live, reference = sides(pairs)
    for statistic in (statistics.psi, statistics.js_divergence, statistics.hellinger, statistics.total_variation):
        value = statistic(live, reference)
        assert 0 <= value < (math.inf if statistic is statistics.psi else 1 + 1e-12)
        assert value == pytest.approx(statistic(reference, live), abs=1e-7)
        assert statistic(live, live) == pytest.approx(0, abs=1e-7)
    assert 0 <= statistics.ks(live, reference) <= 1 + 1e-12
    assert 0 <= statistics.chi_squared(live, reference).p_value <= 1


def test_bins_that_neither_side_uses_change_nothing() -> None:
    """Empty bins are never smoothed."""
    for statistic in (statistics.psi, statistics.js_divergence, statistics.hellinger, statistics.noise_floor):
        assert statistic([5, 0, 9, 0], [8, 0, 2, 0]) == statistic([5, 9], [8, 2])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: statistics.psi([0, 0], [1, 2]), "live: holds no observations"),
        (lambda: statistics.hellinger([1, 2], [0, 0]), "reference: holds no observations"),
        (lambda: statistics.ks([1, -2], [1, 2]), "not negative"),
        (lambda: statistics.psi([1, math.nan], [1, 2]), "finite"),
        (lambda: statistics.js_divergence([1, 2, 3], [1, 2]), "live has 3 bins, reference 2"),
        (lambda: statistics.noise_floor([1], [1], dispersion=0.5), "dispersion: 0.5"),
        (lambda: statistics.chi_squared([1], [1], dispersion=math.inf), "dispersion: inf"),
        (lambda: statistics.wasserstein([1, 2], [1, 2], [0.0, 2.0, 1.0]), "3 finite numbers"),
        (lambda: statistics.wasserstein([1, 2], [1, 2], [0.0, 1.0]), "3 finite numbers"),
        (lambda: statistics.wasserstein([1], [1], [0.0, 1.0], scale=0.0), "scale: 0.0"),
        (lambda: statistics.wasserstein_of_samples([1.0], [1.0], scale=-1.0), "scale: -1.0"),
        (lambda: statistics.ks_of_samples([], [1.0]), "live: must be"),
        (lambda: statistics.ks_of_samples([1.0], [math.inf]), "reference: must be"),
        (lambda: unit_change([1.0], [1, 2], [1.0, 2.0]), "2 bins need 1 inner"),
        (lambda: unit_change([math.nan], [1, 2], [1.0]), "must be finite"),
        (lambda: unit_change_of_samples([1.0], [math.nan]), "reference: must be"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], says: str) -> None:
    """A ValueError names the side and the problem."""
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("module", [_statistics, samples, units])
def test_examples_of_docstrings_are_true(module: ModuleType) -> None:
    """The examples in the docstrings run and give what they say."""
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted
    assert not result.failed


# --- What chance does ------------------------------------------------------------------------------


SHAPES = {
    "deciles": np.full(10, 0.1),
    "deciles, a few missing": np.array([*([0.0998] * 10), 0.002]),
    "20 categories by Zipf": (1 / np.arange(1, 21)) / (1 / np.arange(1, 21)).sum(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [100, 1000, 10_000])
def test_chance_passes_the_noise_floor_hardly_ever(shape: str, size: int) -> None:
    """Of 4000 clean windows at most 0.3 % are above the floor, whatever their size and shape."""
    rng = np.random.default_rng(size)
    live = rng.multinomial(size, SHAPES[shape], 4000)
    reference = rng.multinomial(20_000, SHAPES[shape], 4000)
    above = [statistics.psi(n, m) > statistics.noise_floor(n, m) for n, m in zip(live, reference, strict=True)]
    assert np.mean(above) <= 0.003


def test_clusters_pass_the_noise_floor_and_dispersion_prevents_it() -> None:
    """Rows that come ten at a time are above the plain floor mostly, and hardly ever above the dispersed one."""
    rng = np.random.default_rng(0)
    live = 10 * rng.multinomial(200, SHAPES["deciles"], 2000)
    reference = 10 * rng.multinomial(2000, SHAPES["deciles"], 2000)
    pairs = list(zip(live, reference, strict=True))
    assert np.mean([statistics.psi(n, m) > statistics.noise_floor(n, m) for n, m in pairs]) > 0.5
    assert np.mean([statistics.psi(n, m) > statistics.noise_floor(n, m, dispersion=10) for n, m in pairs]) <= 0.003
    p_values = [statistics.chi_squared(n, m, dispersion=10).p_value for n, m in pairs]
    assert np.mean(np.array(p_values) < 0.01) == pytest.approx(0.01, abs=0.007)


def test_means_without_drift_are_as_documented() -> None:
    """The expected values that the docstrings name, at 1000 against 20,000 in ten bins."""
    rng = np.random.default_rng(1)
    share = SHAPES["deciles"]
    live, reference = rng.multinomial(1000, share, 4000), rng.multinomial(20_000, share, 4000)
    pairs = list(zip(live, reference, strict=True))
    noise = 1 / 1000 + 1 / 20_000

    def mean(statistic: Callable[[Any, Any], float], power: int = 1) -> float:
        return float(np.mean([statistic(n, m) ** power for n, m in pairs]))

    assert mean(statistics.psi) == pytest.approx(noise * 9, rel=0.03)
    assert mean(statistics.js_divergence) == pytest.approx(noise * 9 / (8 * math.log(2)), rel=0.03)
    assert mean(statistics.hellinger, 2) == pytest.approx(noise * 9 / 8, rel=0.03)
    variation = math.sqrt(noise / (2 * math.pi)) * np.sqrt(share * (1 - share)).sum()
    assert mean(statistics.total_variation) == pytest.approx(variation, rel=0.03)
    beyond = [statistics.ks(n, m) > 1.95 * math.sqrt(noise) for n, m in pairs]
    assert np.mean(beyond) <= 0.002


# --- Changes of unit -------------------------------------------------------------------------------


REFERENCES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda rng, size: rng.normal(60, 15, size),
    "gamma": lambda rng, size: rng.gamma(3, 300, size),
    "lognormal": lambda rng, size: rng.lognormal(3, 1, size),
    "two peaks": lambda rng, size: np.concatenate([rng.normal(10, 1, size // 2), rng.normal(30, 3, size - size // 2)]),
    "skewed": lambda rng, size: rng.beta(2, 5, size),
    "counts": lambda rng, size: rng.poisson(40, size).astype(float),
}


def binned(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count values into their own deciles."""
    edges = np.unique(np.quantile(values, np.arange(1, 10) / 10))
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=edges.size + 1), edges


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=str)
def test_every_conversion_is_found(conversion: units.Conversion) -> None:
    """With factors rounded to four digits, each conversion is named for temperatures alike and amounts alike."""
    rng = np.random.default_rng(3)
    make = REFERENCES["normal" if conversion.offset else "gamma"]
    reference, live = make(rng, 20_000), make(rng, 5000)
    changed = live * float(f"{conversion.factor:.4g}") + conversion.offset
    assert conversion in unit_change(changed, *binned(reference))
    assert conversion in unit_change_of_samples(changed, reference)
    assert conversion in unit_change_of_samples(
        np.quantile(changed, np.arange(1, 1000) / 1000), np.quantile(reference, np.arange(1, 1000) / 1000)
    )


def test_conversions_are_found_in_most_distributions_and_never_without_drift() -> None:
    """Over kinds of distributions at 1000 rows: at least 90 % found, and none claimed where nothing changed."""
    rng = np.random.default_rng(4)
    found, claimed, trials = 0, 0, 0
    for make in REFERENCES.values():
        counts_, edges = binned(make(rng, 20_000))
        for conversion in CONVERSIONS:
            if not conversion.offset:
                trials += 1
                found += conversion in unit_change(make(rng, 1000) * conversion.factor, counts_, edges)
                claimed += bool(unit_change(make(rng, 1000), counts_, edges))
    assert found / trials >= 0.9
    assert claimed == 0


@pytest.mark.parametrize(
    ("name", "change", "at_most"),
    [
        ("shift of location", lambda rng, x, sd: x + rng.normal(0, 2) * sd, 0.02),
        ("change of spread", lambda rng, x, _: np.median(x) + (x - np.median(x)) * rng.lognormal(0, 0.5), 0.02),
        ("half of the rows", lambda rng, x, _: np.where(rng.random(x.size) < 0.5, x, x * rng.lognormal(0, 1)), 0.02),
        ("scale by some 20 %", lambda rng, x, _: x * rng.lognormal(0, 0.2), 0.04),
        ("scale by some 50 %", lambda rng, x, _: x * rng.lognormal(0, 0.5), 0.25),
    ],
)
def test_other_drift_is_seldom_taken_for_a_change_of_unit(
    name: str, change: Callable[[np.random.Generator, Any, float], Any], at_most: float
) -> None:
    """Rates of false claims over kinds of distributions; a real change of scale may meet a factor by chance."""
    rng = np.random.default_rng(5)
    claims = []
    for make in REFERENCES.values():
        reference = make(rng, 20_000)
        counted = binned(reference)
        claims += [bool(unit_change(change(rng, make(rng, 2000), reference.std()), *counted)) for _ in range(60)]
    assert np.mean(claims) <= at_most, name


def test_nothing_is_named_where_there_is_too_little_to_go_by() -> None:
    """Few rows, flags, constants and empty samples name no conversion."""
    rng = np.random.default_rng(6)
    values = rng.gamma(3, 300, 5000)
    assert unit_change_of_samples(values[:99] * 1000, values) == ()
    assert unit_change_of_samples(values * 1000, values[:99]) == ()
    assert unit_change_of_samples(values[:100] * 1000, values) != ()
    flags = rng.integers(0, 2, 5000).astype(float)
    assert unit_change_of_samples(flags * 100, flags) == ()
    assert unit_change_of_samples(np.full(500, 60.0), np.ones(500)) == ()
    assert unit_change_of_samples(values, []) == ()


def test_a_conversion_reads_as_a_question() -> None:
    """Factor, offset and all pairs of units are written out."""
    texts = {str(conversion) for conversion in CONVERSIONS}
    assert "x 1.609: miles to kilometres or mph to km/h?" in texts
    assert "x 0.5556 - 17.778: degrees Fahrenheit to degrees Celsius?" in texts
    assert "- 273.15: kelvin to degrees Celsius?" in texts
