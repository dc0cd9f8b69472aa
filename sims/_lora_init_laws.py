r"""How long a zero A keeps B from learning: gradient descent on wide layers, one rate, targets sigma a b'.

At rates of order 1/n, P = A X settles within a few steps at the best fit for the present Q, while Q = W_out B
moves by 1/n a step. So Q'Q = G stands still, and z = Q'a with lr the rate of B obeys

    dz/dt = kappa (1 - z'G^-1 z) G^-1 z,    kappa = lr sigma^2/N,    loss/loss_0 = 1 - z'G^-1 z.

In a time tau with d tau = kappa (loss/loss_0) dt, z is exp(G^-1 tau) z_0: a loss is reached at the tau that
solves a sum of exponentials, after steps given by an integral. Derived here, for K_out = I and K_in = n I.
"""

from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

__all__ = ["slow_loss", "steps_above_floor"]


class _Slow:
    """The loss of a start as a function of tau, and when it reaches a part of the first."""

    def __init__(self, Q0, Y):
        left, sigma, _ = np.linalg.svd(np.asarray(Y))
        values, vectors = np.linalg.eigh(np.asarray(Q0).T @ np.asarray(Q0))
        self.g, self.z = values, vectors.T @ (np.asarray(Q0).T @ left[:, 0])
        self.sigma2 = sigma[0] ** 2

    def loss(self, tau):
        return 1 - (self.z**2 / self.g * np.exp(2 * tau / self.g)).sum()

    def tau(self, part):
        if self.loss(0) <= part:
            return 0.0
        high = self.g.max()
        while self.loss(high) > part:
            high *= 2
        found: Any = brentq(lambda tau: self.loss(tau) - part, 0, high, xtol=1e-13)
        return float(found)

    def steps(self, part, lr, examples):
        end = self.tau(part)
        return quad(lambda tau: 1 / self.loss(tau), 0, end, limit=200)[0] * examples / (lr * self.sigma2)


def steps_above_floor(Q0, Y, lr, *, part):
    """Steps until the loss is this part of the first, for A = 0 and targets of rank 1."""
    return _Slow(Q0, Y).steps(part, lr, np.shape(Y)[1])


def slow_loss(Q0, Y, lr, parts):
    """Steps at which the loss is each of these parts of the first: the curve, read sideways."""
    slow = _Slow(Q0, Y)
    return np.array([slow.steps(part, lr, np.shape(Y)[1]) for part in parts])
