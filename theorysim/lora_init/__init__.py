r"""Which factor of a low-rank adapter starts at zero, and what that costs at one learning rate.

Both choices leave the output unchanged at the start. With one rate, a zero B allows rates of order n^(-1/2)
and a zero A only 1/n, at which A trains alone for some n steps, above a floor. With two rates the choices are
equivalent.

    exponents   `width_exponents`, `largest_stable_exponent`, `efficient_rates`, `measured_exponents`
    constants   `initial_sharpness`, `sharpness`, `minimum_sharpness`, `largest_rate`
    floors      `frozen_floor`, `frozen_floor_law`
    dynamics    `adapter_dynamics`, `adapter_dynamics_single`, `sign_dynamics`, `dense_adapter_training`,
                starts `sample_start`,
                `orthogonal_start`, `scaled_variance`, `svd_start` (shared: `numerics.low_rank`)

References: S. Hayou, N. Ghosh, B. Yu, "The Impact of Initialization on LoRA Finetuning Dynamics" (2024),
arXiv 2406.08447. Constants, floors and the calculus of exponents are derived here.

Example:
    >>> for p0, q0 in ((0.0, None), (None, 0.0)):  # B = 0, A = 0
    ...     rate = float(largest_stable_exponent(p0=p0, q0=q0, optimizer="adam"))
    ...     w = width_exponents(lr_a=rate, lr_b=rate, p0=p0, q0=q0, optimizer="adam", steps=4)
    ...     print(rate, [float(x) for x in (w.p, w.delta1, w.delta2)])
    -0.5 [0.5, 0.0, 0.0]
    -1.0 [0.0, 0.0, -1.0]
"""

from theorysim.lora_init.exponents import (
    RateExponents,
    WidthExponents,
    efficient_rates,
    largest_stable_exponent,
    width_exponents,
)
from theorysim.lora_init.fits import ExponentFit, measured_exponents
from theorysim.lora_init.limits import (
    FloorLaw,
    LargestRate,
    frozen_floor,
    frozen_floor_law,
    initial_sharpness,
    largest_rate,
)
from theorysim.numerics.low_rank import (
    AdapterPath,
    AdapterStart,
    SplitMap,
    adapter_dynamics,
    adapter_dynamics_single,
    dense_adapter_training,
    minimum_sharpness,
    orthogonal_start,
    sample_start,
    scaled_variance,
    sharpness,
    sign_dynamics,
    svd_start,
)

__all__ = [
    "AdapterPath",
    "AdapterStart",
    "ExponentFit",
    "FloorLaw",
    "LargestRate",
    "RateExponents",
    "SplitMap",
    "WidthExponents",
    "adapter_dynamics",
    "adapter_dynamics_single",
    "dense_adapter_training",
    "efficient_rates",
    "frozen_floor",
    "frozen_floor_law",
    "initial_sharpness",
    "largest_rate",
    "largest_stable_exponent",
    "measured_exponents",
    "minimum_sharpness",
    "orthogonal_start",
    "sample_start",
    "scaled_variance",
    "sharpness",
    "sign_dynamics",
    "svd_start",
    "width_exponents",
]
