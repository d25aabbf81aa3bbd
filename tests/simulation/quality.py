"""False alerts of quality in a month in which nothing changes, and how soon a change is told.

`python tests/simulation/quality.py`: outcomes of models that are exactly as good as their objective, their reference
and their calibration say, the hardest case for chance. The rules of `rules/quality.py` are emulated with numpy, looked
at every ten minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from emulation import episodes, window
from traffic import DAY, Feature, live, reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP: Final = 10
_HOUR, _DAY, _WEEK = 60 // _STEP, DAY // _STEP, 7 * DAY // _STEP
_SHARES: Final = (0.02, 0.1, 0.3)
_SEGMENTS: Final = 10
_WORSE, _MUCH_WORSE, _MIN_WRONG = 1.2, 2, 10
_REFERENCE_DAYS: Final = 30
_PENDING, _KEEP = 15 // _STEP, _HOUR


@dataclass(frozen=True, slots=True)
class Model:
    """Outcomes of one model, each of shape (steps, segments); all but the segments' alert add segments up.

    Attributes:
        wrong: wrong ones.
        judged: all.
        budget: share of wrong ones that the objective allows.
        reference: wrong and judged outcomes of the reference.
        dispersion: as the baseline measures it on answers.
    """

    wrong: NDArray[np.float64]
    judged: NDArray[np.float64]
    budget: float
    reference: tuple[float, float]
    dispersion: float


def made(rows: float, share: float, cluster: int, days: int, rng: np.random.Generator, *, then: float = 0.0) -> Model:
    """Make a model's outcomes; from the middle on another share of them is wrong, where one is given."""
    outcome = Feature(np.array([1 - share, share, 0.0]), 0.0, cluster)
    changed = Feature(np.array([1 - then, then, 0.0]), 0.0, cluster)
    wrong, judged = [], []
    for _ in range(_SEGMENTS):
        counts = live(outcome, rows / _SEGMENTS, days, rng)
        if then:
            half = days // 2 * DAY
            counts = np.concatenate([counts[:half], live(changed, rows / _SEGMENTS, days - days // 2, rng)])
        steps = counts.reshape(-1, _STEP, 3).sum(axis=1)
        wrong.append(steps[:, 1])
        judged.append(steps.sum(axis=1))
    counts, _ = reference(outcome, rows, _REFERENCE_DAYS, rng)
    _, dispersion = reference(Feature(np.append(np.full(10, 0.1), 0.0), 0.0, cluster), rows, _REFERENCE_DAYS, rng)
    return Model(
        np.array(wrong, float).T,
        np.array(judged, float).T,
        share,
        (float(counts[1]), float(counts.sum())),
        dispersion,
    )


def _low(wrong: NDArray[np.float64], judged: NDArray[np.float64], dispersion: float, z: float) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        p, n = wrong / judged, judged / dispersion
        low = (p + z**2 / (2 * n) - z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    return np.where(wrong >= _MIN_WRONG, low, np.nan)


def alerts(model: Model, z: float) -> dict[str, NDArray[np.bool_]]:
    """Tell at which steps the condition of each alert holds."""
    wrong, judged = model.wrong.sum(axis=1), model.judged.sum(axis=1)
    spans = {"1h": _HOUR, "6h": 6 * _HOUR, "1d": _DAY, "7d": _WEEK}
    w = {name: window(wrong, steps) for name, steps in spans.items()}
    n = {name: window(judged, steps) for name, steps in spans.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = {name: w[name] / n[name] for name in spans}
        low = {name: _low(w[name], n[name], model.dispersion, z) for name in ("6h", "1d", "7d")}
        cap = (1 + model.budget) / 2
        six, three = min(6 * model.budget, cap), min(3 * model.budget, cap)
        page = ((low["6h"] > six) & (ratio["1h"] > six)) | ((low["1d"] > three) & (ratio["6h"] > three))
        burning = (low["7d"] > model.budget) & (ratio["1d"] > model.budget)
        noise = z * np.sqrt(ratio["7d"] * (1 - ratio["7d"]) * model.dispersion * (1 / n["7d"] + 1 / model.reference[1]))

        def worse(other: float) -> NDArray[np.bool_]:
            return (ratio["7d"] > _WORSE * max(other, 0.001)) & (ratio["7d"] - other > noise) & (w["7d"] >= _MIN_WRONG)

        # Expected errors vary no more than those that come true, and miss the truth by what the reference did.
        off = model.reference[0] / model.reference[1] / model.budget
        both = 1 / (1 / n["1d"] + 1 / model.reference[1])
        expected = _low(off * ratio["1d"] * both, both, model.dispersion, z)
        estimate = (
            (off * ratio["1d"] > _WORSE * model.budget) & (expected > model.budget) & (off * w["1d"] >= _MIN_WRONG)
        )

        segment_wrong, segment_judged = window(model.wrong, _WEEK), window(model.judged, _WEEK)
        rest = (w["7d"][:, None] - segment_wrong) / (n["7d"][:, None] - segment_judged)
        segment_low = _low(segment_wrong, segment_judged, model.dispersion, z)
        segment = ((segment_low > _MUCH_WORSE * rest) & (segment_low > model.budget)).any(axis=1)
    return {
        "MLModelQuality": page,
        "MLQualityBudgetBurn": burning,
        "MLQualityBelowBaseline": worse(model.reference[0] / model.reference[1]),
        "MLConceptDrift": worse(model.budget),
        "MLQualityEstimate": estimate,
        "MLSegmentQuality": segment,
    }


def quiet(models: int, days: int, quantiles: list[float]) -> None:
    """Print false alerts."""
    sizes = np.geomspace(50, 50_000, models)
    sys.stdout.write(f"false alerts of {len(_SHARES) * models} models in {days} days\n")
    for label, cluster in (("independent", 1), ("clusters of 1 to 50", 50)):
        made_once = [
            made(rows, share, cluster, days, np.random.default_rng([cluster, number, int(share * 100)]))
            for share in _SHARES
            for number, rows in enumerate(sizes)
        ]
        for z in quantiles:
            found: Counter[str] = Counter()
            for model in made_once:
                for name, holds in alerts(model, z).items():
                    found[name] += len(episodes(holds, pending=_PENDING, keep=_KEEP))
            told = ", ".join(f"{name} {number}" for name, number in found.items())
            sys.stdout.write(f"{label}, {z:g} standard errors: {told}\n")
            sys.stdout.flush()


def fast(z: float) -> None:
    """Print delays."""
    sys.stdout.write("hours until an alert, median of five, when the share of wrong ones changes from 10 %\n")
    for rows in (500, 5000, 50_000):
        for then in (0.13, 0.15, 0.2, 0.4, 0.7):
            delays: defaultdict[str, list[float]] = defaultdict(list)
            for seed in range(5):
                model = made(rows, 0.1, 1, 28, np.random.default_rng([seed, rows]), then=then)
                for name, holds in alerts(model, z).items():
                    fired = [
                        step - 14 * _DAY for step in episodes(holds, pending=_PENDING, keep=_KEEP) if step >= 14 * _DAY
                    ]
                    delays[name].append(fired[0] / _HOUR if fired else np.inf)
            told = ", ".join(f"{name} {np.median(one):.0f}" for name, one in delays.items())
            sys.stdout.write(f"{rows} a day to {then:.0%}: {told}\n")
            sys.stdout.flush()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20, help="of each share, with 50 to 50,000 outcomes a day")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--quantiles", type=float, nargs="+", default=[2.0, 3.0, 4.0], help="the last is the rules'")
    options = parser.parse_args()
    quiet(options.models, options.days, options.quantiles)
    fast(options.quantiles[-1])


if __name__ == "__main__":
    main()
