"""What practitioners ask, answered by the theories: one module for each question.

- `synthetic_data`: should I train on these synthetic samples, and how should I weigh them?
- `leakage`: which training records does a model give away, and what would protect them?
- `features`: which features does a network use, and are they the right ones?
- `lora`: which learning rates and which start for a LoRA adapter?

Plain numbers and arrays go in, a documented NamedTuple comes out, its verdict in words. On the command line:
`theorysim advise QUESTION`.

Example:
    >>> from theorysim.advisors.synthetic_data import advise_from_numbers
    >>> numbers = dict(label_noise=0.2, keep_right=0.9, keep_wrong=0.3, real_accuracy=0.85)
    >>> report = advise_from_numbers(800, 4000, 400, **numbers)
    >>> print(f"{report.yours.best.accuracy:.3f} at weight {report.yours.best.weight:.2f}")
    0.875 at weight 0.85
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theorysim.advisors import features, leakage, lora, synthetic_data

__all__ = ["features", "leakage", "lora", "synthetic_data"]
