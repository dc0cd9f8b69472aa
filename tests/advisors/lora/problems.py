"""Probes with known Grams, and trainings of the weights themselves on the problem that a probe stands for."""

from typing import Any, NamedTuple

import jax
import numpy as np

from theorysim.advisors.lora.limits import draw_start
from theorysim.advisors.lora.problem import Probe, read_setting
from theorysim.numerics.low_rank import dense_adapter_training


class Case(NamedTuple):
    """A layer's inputs X (N, n) and targets Y (N, m) of a loss |f - Y|^2/(2N)."""

    X: np.ndarray
    Y: np.ndarray

    @property
    def gradients(self) -> np.ndarray:
        return -self.Y / len(self.X)

    @property
    def probe(self) -> Probe:
        return Probe(self.X, self.gradients)


def isotropic(n, examples, outputs, seed=0):
    """K_in = n I exactly, targets of rank 1 and norm N."""
    draw = np.random.default_rng(seed)
    X = np.linalg.qr(draw.normal(size=(n, examples)))[0].T * n**0.5
    left, right = draw.normal(size=examples), draw.normal(size=outputs)
    Y = np.outer(left / np.linalg.norm(left), right / np.linalg.norm(right))
    return Case(X, examples * Y)


def correlated(n=60, examples=12, outputs=9, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(examples, n)) * 0.97 ** np.arange(n) + 0.3
    return Case(X, draw.normal(size=(examples, outputs)) + X[:, :outputs])


def sizes(case, rank=3, *, optimizer, init="a", scale=2.0, **more):
    """A setting of this scale."""
    return read_setting(case.X.shape[1], rank, scale * rank, optimizer=optimizer, init=init, **more)


def train(case, setting, lr_a, lr_b, *, steps, start=None, seed=0):
    """The training that a probe stands for, from the start that the advisor draws with this seed."""
    A, B = start or draw_start(setting, case.Y.shape[1], seed)
    given: dict[str, Any] = {"A0": A} if setting.random == "a" else {"B0": B}
    return dense_adapter_training(
        jax.random.key(0),
        case.X.T,
        np.eye(case.Y.shape[1]),
        case.Y.T,
        rank=len(A),
        init=setting.random,
        **given,
        lr_a=lr_a,
        lr_b=lr_b,
        scale=setting.scale,
        optimizer=setting.rule,
        steps=steps,
    )
