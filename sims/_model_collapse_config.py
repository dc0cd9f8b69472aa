"""The settings of the model-collapse sim, and the truth that they choose."""

import dataclasses
import math
from typing import Literal

import numpy as np

from theorysim.data import ContextLaws, Text, next_token_laws, text_file, tiny_shakespeare, zipf_law
from theorysim.numerics.validation import positive_int

# The paper gives s = 600, 52 tokens and S_0 = 0.1, not p; this Zipf law has all three.
ZIPF_EXPONENT, ZIPF_TOKENS, ZIPF_VOCABULARY = 1.1007934473676655, 52, 600


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the model-collapse sim."""

    seed: int = 0
    """Seed of every random number."""
    law: Literal["text", "zipf"] = "text"
    """Truth p: the character frequencies of the text, or the paper's Zipf law (52 of 600 tokens, S_0 =
    0.1)."""
    data: str = ""
    """A UTF-8 text file to use in place of tiny Shakespeare."""
    sizes: tuple[int, ...] = (10, 50)
    """Synthetic samples n per generation, for the comparison of all scenarios."""
    real: int = 100
    """Real samples N of the scenarios that keep some."""
    window: int = 5
    """Models K in the window."""
    generations: int = 30
    """Generations M."""
    runs: int = 4000
    """Independent runs R of every scenario."""
    collapse_sizes: tuple[int, ...] = (10, 50, 100, 200, 400)
    """Synthetic samples n per generation, for the collapse time."""
    collapse_runs: int = 300
    """Runs R per point of the collapse time."""
    mixed_sizes: tuple[int, ...] = (10, 100, 400)
    """Synthetic samples n per generation beside N real ones."""
    long_generations: int = 150
    """Generations of the window and pool comparison, at n = 10."""
    long_windows: tuple[int, ...] = (1, 2, 5)
    """Windows K of that comparison. Above 5 the first model sees floor(10/K) = 1 draw, and has collapsed."""
    long_runs: int = 400
    """Runs of that comparison."""
    network_runs: int = 32
    """Networks trained side by side."""
    network_samples: int = 5000
    """Samples per generation that a network is trained on."""
    network_generations: int = 10
    """Generations of networks."""
    network_steps: int = 2000
    """Gradient-descent steps per network."""
    context_share: float = 0.01
    """Least frequency of the contexts (previous characters) that a network is trained on."""

    def validate(self) -> None:
        """Refuse settings that no experiment could run."""
        for field in dataclasses.fields(self):
            if field.type is int and field.name not in ("seed", "window"):
                # A spread takes two runs, of which `mixed` makes a quarter.
                least = 8 if field.name == "runs" else 2
                positive_int(getattr(self, field.name), field.name, minimum=least)
        largest = (2**31 - 1 - self.real) // self.generations  # counts are int32
        for name, low, high in (
            ("sizes", 1, largest),
            ("mixed_sizes", 1, largest),
            ("collapse_sizes", 2, largest),
            ("long_windows", 1, min(10, self.long_generations)),
        ):
            values = getattr(self, name)
            rising = values and list(values) == sorted(set(values))
            if not rising or values[0] < low or values[-1] > high:
                raise ValueError(f"{name} must be increasing integers in [{low}, {high}], got {values}")
        if len(self.collapse_sizes) < 2:
            raise ValueError(f"collapse_sizes must be at least 2 integers, got {self.collapse_sizes}")
        positive_int(self.window, "window", maximum=min(self.generations, self.sizes[0]))
        if not 0 < self.context_share <= 1:
            raise ValueError(f"context_share must be in (0, 1], got {self.context_share}")
        try:
            symbols = text_of(self).symbols
        except ValueError as error:
            raise ValueError(str(error).replace("path", "data", 1)) from None
        if len(symbols) < 2:
            raise ValueError(f"data must be a text of at least 2 different characters, got {self.data!r}")
        try:
            frequent_contexts(self)
        except ValueError as error:
            raise ValueError(f"context_share must suit the text, got {self.context_share}: {error}") from None


def text_of(cfg) -> Text:
    return text_file(cfg.data) if cfg.data else tiny_shakespeare()


def frequent_contexts(cfg) -> ContextLaws:
    """The law of the next character after each that is frequent enough to be learnt from.

    A context of frequency f learns a token of probability p in 1 / (eta f p) steps: rare ones never do.
    """
    text = text_of(cfg)
    return next_token_laws(text, context_length=1, min_count=math.ceil(cfg.context_share * len(text.tokens)))


def truth(cfg) -> np.ndarray:
    """The truth p of the single-context experiments, most frequent token first."""
    if cfg.law == "zipf":
        return zipf_law(ZIPF_EXPONENT, ZIPF_TOKENS, ZIPF_VOCABULARY)
    return -np.sort(-next_token_laws(text_of(cfg), context_length=0).laws[0])
