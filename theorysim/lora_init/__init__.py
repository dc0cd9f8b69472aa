r"""Which factor of a low-rank adapter starts at zero, and what that costs at one learning rate.

Both choices leave the output unchanged at the start. With one rate, a zero B allows rates of order n^(-1/2)
and a zero A only 1/n, at which A trains alone for some n steps, above a floor. With two rates the choices are
equivalent.

    exponents   `width_exponents`, `largest_stable_exponent`, `efficient_rates`, `rate_region`,
                `measured_exponents`; of width and rank `rank_exponents`, `largest_stable_power`,
                `efficient_powers`, `regime_table`
    constants   `initial_sharpness`, `sharpness`, `minimum_sharpness`, `largest_rate`
    floors      `frozen_floor`, `frozen_floor_law`
    dynamics    `adapter_dynamics`, `adapter_dynamics_single`, `sign_dynamics`, `width_proxy`,
                `dense_adapter_training`
    starts      `sample_start`, `orthogonal_start`, `scaled_variance`, `svd_start` (these and the dynamics are
                shared with other theories: `numerics.low_rank`)

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
    WidthExponents,
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
from theorysim.lora_init.rates import RateExponents, efficient_rates, rate_region
from theorysim.lora_init.regimes import (
    Power,
    RankExponents,
    RatePowers,
    Regime,
    StablePower,
    efficient_powers,
    largest_stable_power,
    rank_exponents,
    regime_table,
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
    width_proxy,
)

__all__ = [
    "AdapterPath",
    "AdapterStart",
    "ExponentFit",
    "FloorLaw",
    "LargestRate",
    "Power",
    "RankExponents",
    "RateExponents",
    "RatePowers",
    "Regime",
    "SplitMap",
    "StablePower",
    "WidthExponents",
    "adapter_dynamics",
    "adapter_dynamics_single",
    "dense_adapter_training",
    "efficient_powers",
    "efficient_rates",
    "frozen_floor",
    "frozen_floor_law",
    "initial_sharpness",
    "largest_rate",
    "largest_stable_exponent",
    "largest_stable_power",
    "measured_exponents",
    "minimum_sharpness",
    "orthogonal_start",
    "rank_exponents",
    "rate_region",
    "regime_table",
    "sample_start",
    "scaled_variance",
    "sharpness",
    "sign_dynamics",
    "svd_start",
    "width_exponents",
    "width_proxy",
]
