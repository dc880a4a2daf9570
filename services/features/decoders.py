"""Decoder directions as the catalogue keeps them: as they are, or reduced where they are wide."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

WIDEST = 1024
"""Numbers of a direction that is kept as it is."""
REDUCED = 512
"""Numbers that a wider one is reduced to."""
_SEED = 20_240_607


def stored_width(d_model: int) -> int:
    """Numbers that are stored of a direction of `d_model`."""
    return d_model if d_model <= WIDEST else REDUCED


def stored_directions(
    directions: Float[NDArray[np.float32], "features d_model"],
) -> Float[NDArray[np.float32], "features width"]:
    """What is stored of decoder directions.

    A wide one is multiplied by a fixed Gaussian matrix, which keeps cosines: their error has a standard deviation of
    at most 1 / sqrt(512), 0.044 (Johnson and Lindenstrauss, 1984).
    """
    d_model = directions.shape[1]
    if d_model <= WIDEST:
        return directions
    return np.asarray(directions @ _projection(d_model), np.float32)


@lru_cache(maxsize=4)
def _projection(d_model: int) -> Float[NDArray[np.float32], "d_model width"]:
    random = np.random.default_rng([_SEED, d_model])
    return random.standard_normal((d_model, REDUCED), np.float32) / np.float32(REDUCED**0.5)
