"""Values computed once, by other code, to the digits that are printed."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.feature_map.problem import LABELS, READOUT, F, wave
from theorysim.feature_map import (
    balanced_mode,
    cumulative,
    deep_linear_mode,
    eigenfunctions,
    feature_report,
    kernel_distance,
    moments,
    quality,
    readout_risk,
    relu_hypercube_eigenvalues,
    relu_sphere_eigenvalue,
    unconstrained_ce,
    unconstrained_mse,
    utility,
)

CENTRED = {
    "eigenvalues": (
        1.439604864673093,
        1.096543489956771,
        0.8644032716524872,
        0.04937898995199507,
        0.0011357243454767595,
    ),
    "quality": (
        0.0190173771627729,
        0.1428997222095411,
        0.8492264505599787,
        0.0367223697526472,
        0.6097080106888,
    ),
    "utility": (
        0.9113703703344284,
        0.4592511346302559,
        0.5099623987408086,
        0.1123179593495064,
        0.00709813694500,
    ),
    "sums": (0.08095854968615698, 0.6853107524823421),
    "numbers": (3.1241929566186437, 2.959337020002036),
    "dominance": 0.7348883227216545,
    "distance": (3.600701257410548, 0.8946947759876217),
}
UNCENTRED = {
    "eigenvalues": (
        1.4397471984733865,
        1.096888854698856,
        0.8692906932669646,
        0.04958708412843254,
        0.001140740708379918,
    ),
    "quality": (
        0.0193329420881976,
        0.1402988171992699,
        0.8533729560932284,
        0.0400661852457290,
        0.6124997824709,
    ),
    "utility": (
        0.9111663759661617,
        0.462916967883978,
        0.5063361983900402,
        0.1124612928552786,
        0.00711916490454,
    ),
    "sums": (0.33766823846023203, 0.9402097711200899),
    "numbers": (3.1258517090641047, 2.961818576916111),
    "dominance": 0.9853245894865085,
    "distance": (3.7481892704464332, 0.929111855785093),
}


@pytest.mark.parametrize(("centred", "expected"), [(True, CENTRED), (False, UNCENTRED)])
def test_spectrum_quality_and_utility(centred, expected):
    law = moments(F, LABELS, centred=centred)
    top = 3 - centred
    values = eigenfunctions(law).values
    np.testing.assert_allclose(values, expected["eigenvalues"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(quality(law), expected["quality"], rtol=0, atol=1e-10)
    used = utility(law, READOUT)
    np.testing.assert_allclose(used, expected["utility"], rtol=0, atol=1e-10)
    sums = cumulative(quality(law))[top - 1], cumulative(used, rank=used.sum())[top - 1]
    np.testing.assert_allclose(sums, expected["sums"], rtol=0, atol=1e-10)
    distance = kernel_distance(law)
    pair = distance.distance_squared, 1 - distance.alignment**2
    np.testing.assert_allclose(pair, expected["distance"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("centred", "expected"), [(True, CENTRED), (False, UNCENTRED)])
def test_the_report(centred, expected):
    report = feature_report(F, LABELS, readout=READOUT, centred=centred)
    top = 3 - centred
    for name in ("eigenvalues", "quality", "utility"):
        np.testing.assert_allclose(getattr(report, name), expected[name], rtol=0, atol=1e-10)
    numbers = report.effective_entropy, report.effective_participation
    np.testing.assert_allclose(numbers, expected["numbers"], rtol=0, atol=1e-11)
    assert report.cumulative_utility is not None and report.nc1 is not None
    sums = report.cumulative_quality[top - 1], report.cumulative_utility[top - 1]
    np.testing.assert_allclose(sums, expected["sums"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(report.dominance, expected["dominance"], rtol=0, atol=1e-9)
    alignment = 0.32450766402718184 if centred else 0.26624827551536717
    np.testing.assert_allclose(report.target_alignment, alignment, rtol=0, atol=1e-9)
    np.testing.assert_allclose(report.nc1, 6.547279107153979, rtol=0, atol=1e-9)
    if centred:
        errors = 0.328603790068, 0.277158126497, 0.0490709525390, 0.152304449501
        found = [float(x) for x in report.standard_errors or () if x is not None]
        np.testing.assert_allclose(found, errors, rtol=0, atol=1e-9)


def test_the_bound_of_davis_and_kahan():
    law = moments(wave(1.0, 20, 5, 3.0), LABELS)
    distance = kernel_distance(law)
    values = (*distance[:3], 1 - cumulative(quality(law))[1])
    expected = 251.79098427351, 0.7280819560259, 2.401364802854, 0.3055970354742
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_unconstrained_features():
    decay = {"weight_decay_w": 0.02, "weight_decay_h": 0.002}
    counts = jnp.array([12, 6, 3])
    best = unconstrained_mse(counts, bias=True, **decay)
    expected = (0.4129874820281668, 0.27091353344992875, 0)
    np.testing.assert_allclose(best.spectrum, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(best.objective, 0.029563842650080007, rtol=0, atol=1e-11)
    best = unconstrained_mse(counts, bias=False, **decay)
    expected = (0.5016405309573011, 0.34885555678165875, 0.24082026547865054)
    np.testing.assert_allclose(best.spectrum, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(best.objective, 0.04709528683513964, rtol=0, atol=1e-11)
    best = unconstrained_ce(classes=4, per_class=10, weight_decay_w=0.02, weight_decay_h=0.0005)
    np.testing.assert_allclose(best, (4.574710978503383, 2.2873554892516914), rtol=0, atol=1e-11)


def test_deep_linear_modes():
    expected = 0.995520441063395, 1.2764311708902127
    np.testing.assert_allclose(deep_linear_mode(1.0, 1.5, 0.5), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(balanced_mode(1.0, 1.5, 0.01), [0.17818381118232898] * 2, rtol=0, atol=1e-10)


def test_infinitely_wide_relu():
    values = relu_sphere_eigenvalue(jnp.array([2, 4]), jnp.array([3, 10]))
    np.testing.assert_allclose(values, (0.01171875, 8.181388413617e-06), rtol=1e-12)
    cube = 0.1806825489205181, 0.0625, 0.011355632113513082, 0, 0.0011836583984034016
    np.testing.assert_allclose(relu_hypercube_eigenvalues(dim=4), cube, rtol=0, atol=1e-13)


def test_the_risk_of_the_readout():
    w = jnp.cos(1 + jnp.arange(4.0))
    risk = readout_risk(wave(0.5, 12, 4), wave(1.5, 15, 4), w, steps=10, lr=0.3, noise=0.1)
    np.testing.assert_allclose(risk, (0.01975382315213699, 1.1397356726123489), rtol=0, atol=1e-10)
