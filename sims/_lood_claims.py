"""The paper's claims on leave-one-out distinguishability, and ours, judged on the experiments.

Each function takes the data sets of the experiments and the configuration and returns a verdict.
"""

import numpy as np

from theorysim import lood
from theorysim.lab import Verdict
from theorysim.numerics import stats

from ._beside import Claims
from ._lood_config import NOISE

__all__ = ["CLAIMS", "attack_by_width", "auc_error", "trained_attack"]

CLAIMS = Claims()
claim = CLAIMS.claim


def auc_error(leverage, surprise, members, others):
    """Standard error of the AUC of an attack on so many draws, from its exact curve (Hanley, McNeil 1982).

    A member outscores two others with probability Q_2 = int TPR'(f) (1-f)^2 df, and two members outscore one
    other with Q_1 = int TPR(f)^2 df. Unlike an estimate it is right where hardly a pair is out of order.
    """
    t = (np.arange(400) + 0.5) / 400
    fpr, weight = np.sin(np.pi * t / 2) ** 2, np.pi / 2 * np.sin(np.pi * t) / 400
    tpr = np.asarray(lood.attack_roc(leverage, surprise, fpr))
    area = tpr @ weight
    two_members, two_others = (tpr**2) @ weight, 2 * (tpr * (1 - fpr)) @ weight
    spread = (
        area * (1 - area) + (members - 1) * (two_members - area**2) + (others - 1) * (two_others - area**2)
    )
    return np.sqrt(spread / (members * others))


def attack_by_width(runs):
    """Measured AUC (width, record) of the optimal attack, which thresholds the squared loss, and its error.

    One half of the networks is seen with the record and the other without: they are independent.
    """
    half = runs.sizes["replica"] // 2
    loss = [
        (runs[name] - runs.y).transpose("width", "replica", "record").values ** 2
        for name in ("inside", "outside")
    ]
    found = stats.auc_and_error(-loss[0][:, :half], -loss[1][:, half:], axis=1)
    rest = runs.sizes["replica"] - half
    error = auc_error(runs.leverage_predicted.values, runs.surprise_predicted.values, half, rest)
    return found.mean, error


def trained_attack(runs):
    """AUC of the likelihood-ratio attack on networks trained by gradients, with its error; the prediction.

    One normal law is fitted to half of the networks with the record and one to half of those without
    (N. Carlini et al. 2022, arXiv 2112.03570); the other halves are attacked.
    """
    scores = {}
    inside, outside = (runs[name].transpose("record", ...).values for name in ("inside", "outside"))
    halves = [(x[:, ::2], x[:, 1::2]) for x in (inside, outside)]
    fits = [(fit.mean(1, keepdims=True), fit.std(1, ddof=1, keepdims=True)) for fit, _ in halves]
    for name, (_, held) in zip(("inside", "outside"), halves, strict=True):
        (m1, s1), (m0, s0) = fits
        scores[name] = -np.log(s1 / s0) - ((held - m1) / s1) ** 2 / 2 + ((held - m0) / s0) ** 2 / 2
    found = stats.auc_and_error(scores["inside"], scores["outside"], axis=1)
    law = (runs[name].values for name in ("mean_out", "var_out", "mean_in", "var_in"))
    return found, np.asarray(lood.gaussian_pair_auc(*law))


def largest_width(runs):
    """Measured and predicted AUC at the largest width, and the error of the measured one."""
    measured, error = attack_by_width(runs)
    return measured[-1], runs.auc_predicted.values, error


@claim(
    "C1",
    "Gaussian processes give the distance of models with and without a record in closed form: it is that of "
    "refitted models, and the outputs of wide networks have its laws.",
)
def closed_form(data, cfg):
    value = data["refits"].value
    closed, again = (value.sel(by=by).values for by in ("closed form", "refit"))
    same = stats.within(closed / again, 1.0, 0.0, bias=1e-8, resolution=1e-8)
    runs = data["exact_networks"].isel(width=-1)
    h, zeta = runs.leverage_predicted.values, runs.surprise_predicted.values
    v = NOISE * h / (1 - h)
    residual = runs.y.values - runs.outside.mean("replica").values
    parts = [same]
    # In units of the predicted deviation, whose finite-width error is of order 1/width.
    scaled = runs.outside.values / np.sqrt(v)
    found = stats.variance_and_error(scaled, axis=runs.outside.get_axis_num("replica"))
    bias = 8 / np.sqrt(cfg.widths[-1])
    parts.append(stats.within(found.mean, 1.0, found.standard_error, bias=bias, resolution=0.5))
    share = (residual**2 / (v + NOISE)).sum() / zeta.sum()
    parts.append(stats.within(share, 1.0, 0.0, bias=0.1, resolution=0.1))
    return stats.all_of(parts)


@claim(
    "C2",
    "Predicted and measured success of membership attacks on exact-posterior networks agree: the "
    "correlation of their AUCs exceeds 0.9, and they differ by their standard errors.",
)
def attacks_agree(data, cfg):
    measured, predicted, error = largest_width(data["exact_networks"])
    r = stats.correlation(measured, predicted)
    half = float(r.estimate - r.low)
    above = stats.bounded(float(r.estimate), half / 1.96, lower=0.9, level=0.95)
    # The correlated records make the mean of z^2 uncertain by more than sqrt(2/n).
    z = (measured - predicted) / error
    rms = float(np.sqrt((z**2).mean()))
    calibrated = Verdict(
        "confirmed" if 0.8 <= rms <= 1.2 else "refuted", rms, 1.0, 0.0, f"root mean square of z is {rms:.2f}"
    )
    return stats.all_of([above, calibrated])


@claim(
    "C2-trained",
    "They agree on networks trained by gradients, whose law is that of a neural-tangent ensemble: "
    "correlation above 0.8.",
)
def trained_agree(data, cfg):
    found, predicted = trained_attack(data["trained_networks"])
    r = stats.correlation(found.mean, predicted)
    half = float(r.estimate - r.low)
    return stats.bounded(float(r.estimate), half / 1.96, lower=0.8, level=0.95)


@claim("C3", "The record itself is a stationary point of the divergence of the outputs, and its maximum.")
@claim(
    "D1",
    "No query sees more of a record than the record itself, by Kullback-Leibler divergence, for any kernel.",
)
def record_is_best(data, cfg):
    gain = data["queries"].gain.sel(objective="kl").values
    # A search that ends at a local maximum stays below the record; beyond rounding none may exceed it.
    parts = [stats.within(np.maximum(gain, 0), 0.0, 0.0, bias=1e-9, resolution=1e-9)]
    found = np.abs(gain) < 1e-9
    share = stats.proportion(int(found.sum()), found.size)
    # Some search must reach it, or nothing was tested.
    reached = "confirmed" if share.low > 0.5 else "undecided"
    parts.append(
        Verdict(reached, float(share.estimate), 1.0, 0.0, f"{found.sum()} of {found.size} end there")
    )
    return stats.all_of(parts)


@claim(
    "D2",
    "The distance of the means is different: another query sees more than the record itself.",
)
def mean_is_not(data, cfg):
    better = data["queries"].gain.sel(objective="mean").values > 1e-6
    share = stats.proportion(int(better.sum()), better.size)
    status = "confirmed" if share.low > 0.5 else "refuted" if share.high < 0.5 else "undecided"
    detail = f"a better query was found for {better.sum()} of {better.size} records"
    return Verdict(status, float(share.estimate), 1.0, float(share.high - share.low) / 3.92, detail)


@claim(
    "C5", "The query that sees most reconstructs the record: 9 of 10 records, more than the nearest other."
)
def reconstructed(data, cfg):
    runs = data["queries"].sel(objective="kl", kernel="rbf")
    ok = (runs.distance.values[:, 0] < 0.1) & (runs.distance.values[:, 0] < runs.other.values)
    share = stats.proportion(int(ok.sum()), len(ok))
    status = "confirmed" if share.low > 0.6 else "refuted" if share.high < 0.9 else "undecided"
    detail = f"{ok.sum()} of {len(ok)} records; 95 % interval {share.low:.2f} to {share.high:.2f}"
    return Verdict(status, float(share.estimate), 0.9, float(share.high - share.low) / 3.92, detail)


@claim(
    "C5-groups",
    "So it does for pairs of records asked by two queries: more than half of the members; a single query "
    "finds fewer.",
)
def groups_reconstructed(data, cfg):
    runs = data["groups"]
    hits = {int(q): (runs.distance.sel(queries=q) < 0.1).values for q in runs["queries"].values}
    one, two = (stats.proportion(int(hits[q].sum()), hits[q].size) for q in (1, 2))
    if two.low > 0.5 and one.high < two.low:
        status = "confirmed"
    else:
        status = "refuted" if two.high < 0.5 or one.low > two.high else "undecided"
    detail = f"two queries find {two.estimate:.2f} of {hits[2].size} members, one {one.estimate:.2f}"
    return Verdict(status, float(two.estimate), 0.5, float(two.high - two.low) / 3.92, detail)


def smooth_less_relu(runs, name):
    """Mean difference over records of GELU and ReLU, and of erf and ReLU, paired by record, with errors."""
    smooth = [phi for phi in ("gelu", "erf") if phi in runs.phi.values]
    differences = [(runs[name].sel(phi=phi) - runs[name].sel(phi="relu")) for phi in smooth]
    axis = differences[0].get_axis_num("record")
    found = stats.mean_and_error(np.stack([d.values for d in differences]), axis=axis + 1)
    return found.mean, found.standard_error


@claim(
    "C4",
    "Smooth activations leak more than ReLU at the same depth: information gain on the edge of chaos, "
    "depth 10 and beyond, noise 0.01 and 0.1.",
)
def smooth_leak_more(data, cfg):
    runs = data["depth"].sel(labels="true", depth=[L for L in cfg.depths if L >= 10], noise=[1e-2, 1e-1])
    return stats.bounded(*smooth_less_relu(runs, "information"), lower=0.0)


@claim(
    "C4-shallow",
    "They do so at depth 1, too.",
    expected="refuted",
)
def smooth_leak_more_shallow(data, cfg):
    runs = data["depth"].sel(labels="true", depth=[1], inputs="raw", noise=[1e-2, 1e-1])
    return stats.bounded(*smooth_less_relu(runs, "information"), lower=0.0)


@claim(
    "C4-he",
    "They do so under one common initialisation (weight variance 2, no biases), at depth 5 and beyond.",
    expected="refuted",
)
def smooth_leak_more_he(data, cfg):
    runs = data["he"].sel(depth=[L for L in cfg.depths if L >= 5])
    return stats.bounded(*smooth_less_relu(runs, "information"), lower=0.0)


@claim(
    "C4-labels",
    "They do so in the AUC of attacks with the true labels, at every depth from 10 on and noise 0.01.",
    expected="refuted",
)
def smooth_leak_more_labels(data, cfg):
    deep = [L for L in cfg.depths if L >= 10]
    runs = data["depth"].sel(labels="true", inputs="raw", depth=deep, noise=1e-2)
    return stats.bounded(*smooth_less_relu(runs, "auc"), lower=0.0)


@claim(
    "C4-random",
    "They do so in the AUC of attacks with random labels, at the largest depth.",
)
def smooth_leak_more_random(data, cfg):
    runs = data["depth"].sel(labels="random", inputs="raw", depth=cfg.depths[-1], noise=1e-1)
    return stats.bounded(*smooth_less_relu(runs, "auc"), lower=0.0)


@claim(
    "C6",
    "The mean distance contains influence, and misses what variance tells: classic influence falls short of "
    r"the exact change by $1-h$, measured on networks.",
)
def influence_falls_short(data, cfg):
    runs = data["exact_networks"].isel(width=-1)
    change = (runs.inside - runs.outside).transpose("replica", "record").values
    found = stats.mean_and_error(change)
    h = runs.leverage_predicted.values
    # The mean change at the record is h times the residual y - mu_out.
    residual = runs.y.values - runs.outside.mean("replica").values
    clear = np.abs(residual) > 0.3
    bias = np.abs(residual[clear]) * 4 / np.sqrt(cfg.widths[-1])
    return stats.within(
        found.mean[clear],
        (h * residual)[clear],
        found.standard_error[clear],
        bias=bias,
        resolution=0.5 * np.abs(residual[clear]) + 0.2,
    )


@claim(
    "D4",
    "The optimal attack thresholds the squared loss: no other score of the outputs has a larger AUC.",
)
def loss_is_optimal(data, cfg):
    runs = data["exact_networks"].isel(width=-1)
    measured, error = attack_by_width(data["exact_networks"])
    half = runs.sizes["replica"] // 2
    inside, outside = (runs[name].transpose("replica", "record").values for name in ("inside", "outside"))
    sign = np.sign(runs.y.values)
    # The margin, and the distance from the mean of the networks without the record.
    centre = outside[:half].mean(0)
    rivals = [
        stats.auc_and_error(score(inside[:half]), score(outside[half:])).mean.mean()
        for score in (lambda f: sign * f, lambda f: np.abs(f - centre))
    ]
    ours, spread = measured[-1].mean(), np.sqrt((error**2).mean())
    return stats.bounded(ours - np.array(rivals), spread / 4, lower=0.0, resolution=1e-9)


@claim(
    "D5",
    "Networks trained by gradients are different: with GELU another query than the record sees more of it, "
    "with ReLU less often; on average the AUC gained is below 0.02.",
)
def another_query(data, cfg):
    runs = data["tangent"]
    better = {phi: (runs.gain.sel(phi=phi).values > 1e-6) for phi in ("gelu", "relu")}
    gelu, relu = (stats.proportion(int(b.sum()), b.size) for b in better.values())
    gained = stats.mean_and_error(runs.auc_gain.transpose("phi", "replica").values, axis=1)
    small = stats.bounded(gained.mean, gained.standard_error, upper=0.02)
    ok = gelu.low > 0.5 and relu.high < gelu.low
    status = "confirmed" if ok else "refuted" if gelu.high < 0.5 or relu.low > gelu.high else "undecided"
    detail = (
        f"GELU {better['gelu'].sum()} of {better['gelu'].size} problems, "
        f"ReLU {better['relu'].sum()}; mean AUC gained at most {gained.mean.max():.3f}"
    )
    counted = Verdict(status, float(gelu.estimate), 1.0, float(gelu.high - gelu.low) / 3.92, detail)
    return stats.all_of([counted, small])
