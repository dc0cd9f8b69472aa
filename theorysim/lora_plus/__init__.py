r"""Two learning rates for the two factors of a low-rank adapter, and the exact dynamics behind them.

With one rate for A and B, training on wide layers is slow: one factor's gradient gains from the sum over n
inputs, the other's does not. lr_a of order 1/n with lr_b of order 1 lets both learn, and the training is then
the same at every width.

    dynamics    `adapter_dynamics`, `adapter_dynamics_single`, `sign_dynamics`, `width_proxy`,
                `dense_adapter_training`
    starts      `sample_start`, `orthogonal_start`, `scaled_variance`, `svd_start` (these and the dynamics are
                shared with other theories: `numerics.low_rank`)
    closed form `gradient_flow`, `time_to_fraction`, `final_sharpness`
    stability   `sharpness`, `minimum_sharpness`
    rates       `best_rates`, `loss_map`; settings that train alike `equivalent_setting`

References: S. Hayou, N. Ghosh, B. Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (2024), arXiv
2402.12354; E. Hu et al., "LoRA" (2022), arXiv 2106.09685. The dynamics and closed forms are derived here.

Example:
    >>> for n in (128, 16_384, 2**20):  # one rate, of sharpness 1 at the end: the time grows like log n
    ...     lr = (1 + 4 * n) ** -0.5
    ...     print(f"{time_to_fraction(0.01, 1.0, 0.0, 1.0, gain_a=lr * n, gain_b=lr):.2f}")
    8.37
    10.83
    12.91
"""

from theorysim.lora_plus.flow import FlowState, final_sharpness, gradient_flow, time_to_fraction
from theorysim.lora_plus.rates import BestRates, best_rates, loss_map
from theorysim.lora_plus.settings import AdapterSetting, equivalent_setting
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
    "AdapterSetting",
    "AdapterStart",
    "BestRates",
    "FlowState",
    "SplitMap",
    "adapter_dynamics",
    "adapter_dynamics_single",
    "best_rates",
    "dense_adapter_training",
    "equivalent_setting",
    "final_sharpness",
    "gradient_flow",
    "loss_map",
    "minimum_sharpness",
    "orthogonal_start",
    "sample_start",
    "scaled_variance",
    "sharpness",
    "sign_dynamics",
    "svd_start",
    "time_to_fraction",
    "width_proxy",
]
