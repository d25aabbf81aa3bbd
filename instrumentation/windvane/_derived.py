"""The derived feature: how far a row lies from what the correlations of the reference make of it.

Two inputs that move together in the reference and apart in live traffic keep their own distributions; only
the rows are other rows. The reconstruction error shows it: a row of numeric inputs in standard units is
written by the principal components of the reference, and what is left over is its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from windvane.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MAX_ERROR", "MAX_INPUTS", "RECONSTRUCTION_ERROR", "PrincipalComponents", "standardize"]

RECONSTRUCTION_ERROR: Final = "reconstruction_error"
"""Name of the derived feature."""

MAX_INPUTS: Final = 200
"""Inputs that it covers at most: the work per value grows with their number."""

MAX_ERROR: Final = 10.0
"""A value counts as at most so many standard deviations from its mean, so no error is larger."""

# Ten-thousandths of a standard deviation are neither drift nor the same in single and in double precision.
_ERROR_DECIMALS: Final = 4
_ORTHONORMAL_WITHIN: Final = 1e-3
# Small enough for a processor's cache, large enough that the steps between numpy's loops cost little.
_BLOCK_VALUES: Final = 2**17
# OpenBLAS spreads a larger product over threads, and the host's processors are not ours to take.
_PRODUCT_OPERATIONS: Final = 2**18


@dataclass(frozen=True, slots=True)
class PrincipalComponents:
    """The principal components of the reference's numeric inputs that explain most of their variance.

    Attributes:
        inputs: names of the p inputs, 2 to 200.
        means: mean of each.
        scales: standard deviation of each, above 0.
        components: orthonormal directions in the space of the standardized inputs, those of most variance
            first; shape (k, p), 1 <= k < p.

    Raises:
        BaselineError: a field does not fit; the message names it.
    """

    inputs: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    _residual: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the computation relies on."""
        size = len(self.inputs)
        if not 2 <= size <= MAX_INPUTS or len(set(self.inputs)) != size:  # noqa: PLR2004 - one has no correlation
            msg = f"principal_components.inputs: must be 2 to {MAX_INPUTS} different names"
            raise BaselineError(msg)
        if len(self.means) != size or not all(map(math.isfinite, self.means)):
            msg = f"principal_components.means: must be a finite number for each of the {size} inputs"
            raise BaselineError(msg)
        if len(self.scales) != size or not all(0 < scale < math.inf for scale in self.scales):
            msg = f"principal_components.scales: must be a finite number above 0 for each of the {size} inputs"
            raise BaselineError(msg)
        if not 0 < len(self.components) < size or any(len(component) != size for component in self.components):
            msg = f"principal_components.components: must be 1 to {size - 1} lists of {size} numbers"
            raise BaselineError(msg)
        directions = np.array(self.components, dtype=np.float64)
        if (
            not (np.abs(directions) <= 1 + _ORTHONORMAL_WITHIN).all()  # before products that could overflow
            or np.abs(directions @ directions.T - np.eye(len(directions))).max() > _ORTHONORMAL_WITHIN
        ):
            msg = "principal_components.components: must be of length 1 and at right angles"
            raise BaselineError(msg)
        object.__setattr__(self, "_residual", np.eye(size) - directions.T @ directions)

    def errors(self, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Compute the reconstruction error of each row.

        It is the root mean square, over the inputs, of what the components leave of the standardized row,
        rounded to four decimals. Values that are missing or not finite count as the mean.

        Args:
            columns: the p inputs, each of shape (n,).

        Returns:
            Shape (n,), in standard deviations of the inputs, 0 to 10.
        """
        size = len(columns)
        errors = np.empty(len(columns[0]))
        rows = max(1, _BLOCK_VALUES // size)
        step = max(1, _PRODUCT_OPERATIONS // size**2)
        for start in range(0, len(errors), rows):
            block = np.empty((size, min(rows, len(errors) - start)))
            for values, column, mean, scale in zip(block, columns, self.means, self.scales, strict=True):
                values[:] = standardize(column[start : start + rows], mean, scale)
            left = np.empty_like(block)
            for first in range(0, block.shape[1], step):
                left[:, first : first + step] = self._residual @ block[:, first : first + step]
            errors[start : start + rows] = np.sqrt(np.einsum("ij,ij->j", left, left) / size)
        return np.minimum(errors.round(_ERROR_DECIMALS), MAX_ERROR)


def standardize(values: NDArray[np.float64], mean: float, scale: float) -> NDArray[np.float64]:
    """Express values in standard deviations from the mean, at most 10; 0 where they are missing or not finite.

    Args:
        values: shape (n,).
        mean: what becomes 0.
        scale: what becomes 1.

    Returns:
        Shape (n,).
    """
    with np.errstate(all="ignore"):  # the distance of huge numbers is infinite, and then limited
        units = np.clip((values - mean) / scale, -MAX_ERROR, MAX_ERROR)
    finite = np.isfinite(values)
    if not finite.all():
        units[~finite] = 0.0
    return units
