"""Which learning rates and which start for a LoRA adapter, and what one rate for both factors would lose.

`advise_lora` answers from the sizes alone (powers and ratios), from a rate that works at another width (the
exact transfer), or from features and gradients of the user's own network (constants, put to trial).

References: S. Hayou, N. Ghosh, B. Yu, "LoRA+" (2024), arXiv 2402.12354, and "The Impact of Initialization on
LoRA Finetuning Dynamics" (2024), arXiv 2406.08447; laws, constants and trials are derived here.

Example:
    >>> advice = advise_lora(4096, 16, 32.0, optimizer="adamw", base_lr=2e-4, base_width=1024)
    >>> print(f"{advice.lr_a:.0e} {advice.lr_b:.0e} {advice.single:.0e}")
    5e-05 2e-04 1e-04
    >>> for line in advice.lines[1:3]:
    ...     print(f"{line.name}: {line.said} ({line.kind})")
    rate of A: 5e-05 (asymptotic)
    rate of B: 0.0002 (asymptotic)
"""

from theorysim.advisors.lora.advice import DEFAULT_RATIO, Cost, LoraAdvice, Move, Twin, advise_lora
from theorysim.advisors.lora.laws import Exponents, Powers, RateLaws
from theorysim.advisors.lora.limits import ProbeLimits
from theorysim.advisors.lora.problem import Base, Setting
from theorysim.advisors.lora.trial import Trial
from theorysim.advisors.lora.words import Line

__all__ = [
    "DEFAULT_RATIO",
    "Base",
    "Cost",
    "Exponents",
    "Line",
    "LoraAdvice",
    "Move",
    "Powers",
    "ProbeLimits",
    "RateLaws",
    "Setting",
    "Trial",
    "Twin",
    "advise_lora",
]
