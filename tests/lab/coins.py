"""A small sim for tests: the mean and the variance of coin tosses, theory beside simulation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from theorysim.lab import Paper, Sim, Verdict, figures
from theorysim.numerics import stats


@dataclass(frozen=True)
class Config:
    """Coins and how often they are tossed."""

    seed: int = 0
    """Seed of every random number."""
    tosses: int = 50
    """Tosses of each coin in one replica."""
    replicas: int = 400  # independent repetitions of all the tosses
    biases: tuple[float, ...] = (0.2, 0.5, 0.7)
    """Probabilities of heads."""

    def validate(self):
        if self.tosses < 2:
            raise ValueError(f"tosses must be an integer >= 2, got {self.tosses}")


sim = Sim(
    slug="coins",
    question="Does the share of heads tell the bias of a coin, and how fast?",
    paper=Paper(
        title="On the Tossing of Coins",
        authors=("J. Bernoulli", "A. de Moivre"),
        arxiv="1713.00001",
        year=1713,
    ),
    presets={"quick": Config(), "paper": Config(tosses=200, replicas=2000), "tiny": Config(replicas=64)},
)


def share_of_heads(bias, key, *, tosses):
    return jax.random.bernoulli(key, bias, (tosses,)).mean()


@sim.experiment
def shares(cfg, key, sweep):
    """Toss every coin and note the share of heads."""
    simulated = sweep(
        share_of_heads,
        vary={"bias": cfg.biases},
        cases={"tosses": [cfg.tosses]},
        replicas=cfg.replicas,
        key=key,
    )
    return simulated.isel(tosses=0)


@sim.experiment
def spread(cfg, key, sweep):
    """Work out the variance of the share."""
    exact = sweep(lambda bias: bias * (1 - bias), vary={"bias": cfg.biases})
    return xr.Dataset({"variance": exact.value / cfg.tosses}, attrs=exact.attrs)


@sim.claim("C1", "The mean share of heads is the bias.", unit="heads per toss")
def unbiased(data, cfg) -> Verdict:
    shares = data["shares"].value
    found = stats.mean_and_error(shares.values, axis=shares.get_axis_num("replica"))
    return stats.within(found.mean, shares.bias.values, found.standard_error, resolution=0.05)


@sim.claim("C2-printed", "The variance of the share does not depend on the bias.", expected="refuted")
def constant_variance(data, cfg) -> Verdict:
    exact = data["spread"].variance.values
    return stats.within(exact, exact[0], np.zeros_like(exact), resolution=1e-6)


@sim.claim("C3", "A coin of bias 0.5 is fair to one part in a million.", expected="undecided")
def exactly_fair(data, cfg) -> Verdict:
    fair = data["shares"].value.sel(bias=0.5).values
    found = stats.mean_and_error(fair)
    return stats.within(found.mean, 0.5, found.standard_error, resolution=1e-6)


@sim.figure("Share of heads against the bias: theory (line) and simulation (points with 95 % bars).")
def share_against_bias(data, cfg):
    figure, ax = figures.new_figure()
    shares = data["shares"].value
    found = stats.mean_and_error(shares.values, axis=shares.get_axis_num("replica"))
    figures.theory_line(ax, [0, 1], [0, 1], label="theory: share = bias")
    figures.measured_points(
        ax, shares.bias, found.mean, found.standard_error, label="simulation", color="#D55E00"
    )
    ax.set(xlabel="bias $p$", ylabel="share of heads")
    ax.legend()
    return figure


@sim.figure("Its variance $s^2 = p(1-p)/n$ against the bias; no spread for a coin of two heads.")
def variance_against_bias(data, cfg):
    figure, ax = figures.new_figure()
    bias = jnp.linspace(0, 1, 50)
    figures.theory_line(ax, bias, bias * (1 - bias) / cfg.tosses, label="$p(1-p)/n$")
    figures.measured_points(ax, data["spread"].bias, data["spread"].variance, 0.0, label="sweep")
    ax.set(xlabel="bias $p$", ylabel="variance of the share")
    ax.legend()
    return figure
