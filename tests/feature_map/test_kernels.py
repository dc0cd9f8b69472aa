"""Every public kernel: dtype, jit, vmap, float32, gradient, bad input."""

import jax
import jax.numpy as jnp
import pytest

from tests.check_kernel import check_kernel
from tests.feature_map.problem import LABELS, READOUT, WIDE, WIDE_LABELS, F, some, wave
from theorysim import feature_map as fm

W = READOUT
GRAM = jnp.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.5]])
TARGETS = jnp.stack([F[:, 0] ** 2, F[:, 1] + 0.1 * F[:, 2]], axis=1)
CLASSES = {"labels": LABELS, "classes": 3}
NAN = F.at[3, 1].set(jnp.nan)

# Name: function, arrays, and the other arguments of check_kernel.
CASES = {
    "moments": (
        fm.moments,
        (F,),
        {
            "static": CLASSES,
            "bad": [
                {"features": NAN},
                {"features": jnp.ones((20, 3))},
                {"features": F[:1]},
                {"features": F[:, 0]},
                {"features": F.astype(complex)},
                {"labels": LABELS[:-1]},
                {"labels": LABELS + 1},
                {"labels": LABELS[None]},
                {"labels": LABELS == 0},
                {"labels": jnp.zeros(20, int), "classes": None},
                {"labels": jnp.arange(20), "classes": None},
                {"labels": TARGETS},
                {"labels": jnp.concatenate([TARGETS, TARGETS], axis=1), "classes": None},
                {"labels": TARGETS.at[0].set(jnp.inf), "classes": None},
                {"classes": 1},
                {"block": 0},
            ],
        },
    ),
    "moments of targets": (
        lambda features, labels: fm.moments(features, labels, block=7).second_moment,
        (F, TARGETS),
        {},
    ),
    # The last of five eigenvalues is 1268 times below the first: eps lambda_1 / lambda_5 = 1.5e-4 in float32.
    "quality": (
        lambda features: fm.quality(fm.moments(features, LABELS, classes=3)),
        (F,),
        {"float32_rtol": 1e-3},
    ),
    "quality of targets": (
        lambda features, labels: fm.quality(fm.moments(features, labels)),
        (F, TARGETS),
        {"float32_rtol": 1e-3},
    ),
    "utility": (
        lambda features, readout: fm.utility(fm.moments(features, LABELS, classes=3), readout),
        (F, W),
        {"bad": [{"readout": W[:, 1:]}, {"readout": W.at[0, 0].set(jnp.nan)}]},
    ),
    "energy_share": (
        lambda features, readout: fm.energy_share(fm.moments(features, LABELS, classes=3), readout),
        (F, W),
        {"bad": [{"readout": W[0]}]},
    ),
    "truncated_outputs": (
        lambda features, readout: fm.truncated_outputs(
            features, fm.moments(features, LABELS, classes=3), readout, top=2
        ),
        (F, W),
        {},
    ),
    "kernel_distance": (
        lambda features: fm.kernel_distance(fm.moments(features, LABELS, classes=3)),
        (wave(1.0, 20, 5, 3.0),),
        {},
    ),
    "held_out": (
        lambda features, test, readout: fm.held_out(
            fm.moments(features, LABELS, classes=3), fm.moments(test, LABELS, classes=3), readout
        ),
        (F, F[::-1] + 0.3 * F**2, W),
        {},
    ),
    "feature_metrics": (
        # The largest output, collapse, is told apart by its own check; K90 is a count.
        lambda features, readout: fm.feature_metrics(features, LABELS, readout=readout, classes=3)._replace(
            collapse=None, used_features=None, dropped=None
        ),
        (F, W),
        {"bad": [{"readout": W[:, 1:]}, {"features": NAN}], "float32_rtol": 1e-3},
    ),
    "wide feature_metrics": (
        lambda features: fm.feature_metrics(features, WIDE_LABELS, outputs=F[:12, :3], classes=3)._replace(
            collapse=None, used_features=None, dropped=None
        ),
        (WIDE,),
        {"float32_rtol": 2e-3},
    ),
    "neural_collapse": (
        lambda features, readout: fm.neural_collapse(features, LABELS, readout, classes=3)._replace(nc4=None),
        (F, W),
        {"bad": [{"readout": W[:2]}, {"features": NAN}]},
    ),
    "standard_errors": (
        lambda features, readout: fm.standard_errors(features, LABELS, readout, classes=3),
        (F, W),
        {"float32_rtol": 1e-3},
    ),
    "unbiased_participation": (
        fm.unbiased_participation,
        (F,),
        {"bad": [{"features": F[:3]}, {"features": NAN}]},
    ),
    "cumulative": (
        fm.cumulative,
        (jnp.array([0.9, 0.4, 0.1]), jnp.array(1.4)),
        {"points": [(jnp.array([0.1, 0.4, 0.2]), jnp.array(0.7))], "bad": [{"rank": 0.0}, {"x": 1.0}]},
    ),
    "effective_numbers": (
        fm.effective_numbers,
        (jnp.array([2.0, 1.0, 0.3]),),
        {"bad": [{"values": [1.0, -0.1]}]},
    ),
    "adjusted_quality": (
        fm.adjusted_quality,
        (jnp.array([0.2, 0.9]), jnp.array(3.0), jnp.array(30.0)),
        {"bad": [{"n": 3.0}, {"classes": 1.0}]},
    ),
    "chance_quality": (
        fm.chance_quality,
        (jnp.array([3.0, 10.0]), jnp.array([30.0, 50.0])),
        {"bad": [{"n": 3.0}, {"classes": 1.0}]},
    ),
    "chance_cumulative_utility": (
        fm.chance_cumulative_utility,
        (jnp.array([30.0, 50.0]), jnp.array([3.0, 4.0]), jnp.array([2.0, 20.0])),
        {"bad": [{"features": 1.0}, {"rank": 40.0}, {"rank": 0.0}, {"top": 60.0}]},
    ),
    "spiked_feature": (
        fm.spiked_feature,
        (jnp.array([0.5, 0.5]), jnp.array([2.0, 0.3])),
        {"bad": [{"aspect": 0.0}, {"spike": -1.0}]},
    ),
    "unconstrained_mse": (
        lambda counts, weight_decay_w, weight_decay_h: fm.unconstrained_mse(
            counts, weight_decay_w=weight_decay_w, weight_decay_h=weight_decay_h
        ),
        (jnp.array([12.0, 6.0, 3.0]), jnp.array(0.02), jnp.array(0.002)),
        {
            "points": [(jnp.array([9.0, 6.0, 6.5]), jnp.array(0.03), jnp.array(0.001))],
            "bad": [{"counts": [3.0, 0.0]}, {"counts": [3.0]}, {"weight_decay_w": 0.0}],
        },
    ),
    "unconstrained_regression": (
        fm.unconstrained_regression,
        (jnp.array([3.0, 1.4]), jnp.array(10.0), jnp.array(0.1), jnp.array(0.1)),
        {
            "points": [(jnp.array([2.0, 1.5]), jnp.array(12.0), jnp.array(0.1), jnp.array(0.05))],
            "bad": [{"singular_values": [-1.0]}, {"n": 0.0}, {"weight_decay_h": 0.0}],
        },
    ),
    "unconstrained_thresholds": (
        fm.unconstrained_thresholds,
        (jnp.array([12.0, 6.0, 3.0]),),
        {"bad": [{"counts": [3.0, 0.0]}]},
    ),
    "unconstrained_ce": (
        fm.unconstrained_ce,
        (jnp.array([4.0, 3.0]), jnp.array([10.0, 20.0]), jnp.array([0.02, 0.01]), jnp.array([5e-4, 1e-3])),
        {"bad": [{"classes": 1.0}, {"per_class": 0.0}, {"weight_decay_w": 0.0}]},
    ),
    "deep_linear_mode": (
        fm.deep_linear_mode,
        (jnp.array([1.0, 0.3]), jnp.array([1.5, 1.0]), jnp.array([0.5, 2.0])),
        {"bad": [{"t": -1.0}, {"strength": -1.0}, {"scale": 0.0}]},
    ),
    "balanced_mode": (
        fm.balanced_mode,
        (jnp.array([1.0, 0.3]), jnp.array([1.5, 1.0]), jnp.array([0.5, 2.0])),
        {"bad": [{"t": -1.0}, {"strength": 0.0}, {"start": 0.0}]},
    ),
    "deep_linear_spectrum": (
        fm.deep_linear_spectrum,
        (jnp.array(0.7), jnp.array([2.0, 1.0]), jnp.array(0.3)),
        {
            "static": {"inputs": 4},
            "points": [(jnp.array(0.1), jnp.array([2.0, 1.0]), jnp.array(0.4))],
            "bad": [{"inputs": 1}, {"strengths": 1.0}, {"scale": 0.0}],
        },
    ),
    "relu_sphere_eigenvalue": (
        fm.relu_sphere_eigenvalue,
        (jnp.array([2.0, 4.0, 3.0]), jnp.array([3.0, 10.0, 4.0])),
        {"smooth": False, "bad": [{"degree": -1.0}, {"degree": 1.5}, {"dim": 1.0}]},
    ),
    "sphere_eigenvalues": (
        lambda sw2, sb2: fm.sphere_eigenvalues("gelu", dim=4, max_degree=2, depth=2, sw2=sw2, sb2=sb2),
        (jnp.array(1.3), jnp.array(0.2)),
        {"points": [(jnp.array(1.0), jnp.array(0.1))], "bad": [{"sw2": 0.0}, {"sb2": -1.0}]},
    ),
    "hypercube_eigenvalues": (
        lambda sw2, sb2: fm.hypercube_eigenvalues("relu", dim=4, sw2=sw2, sb2=sb2),
        (jnp.array(1.3), jnp.array(0.2)),
        {"points": [(jnp.array(1.0), jnp.array(0.1))], "bad": [{"sw2": 0.0}, {"sb2": -1.0}]},
    ),
    "relu_trace_of_square": (
        fm.relu_trace_of_square,
        (jnp.array([0.2, 0.1]), jnp.array([8.0, 32.0]), jnp.array([3.0, 4.0])),
        {"bad": [{"infinite": -1.0}, {"width": 0.0}, {"dim": 0.0}]},
    ),
    "kernel_features": (
        lambda gram: fm.kernel_features(gram) ** 2,
        (GRAM,),
        {"points": [(GRAM + jnp.eye(3) * jnp.arange(3.0)[None],)], "smooth": False, "bad": []},
    ),
    "readout_risk": (
        fm.readout_risk,
        (F, F[::-1] * 1.1, jnp.cos(jnp.arange(5.0))),
        {
            "static": {"steps": jnp.array([3, 40]), "lr": 0.3, "noise": 0.1},
            "bad": [
                {"test_features": F[:, 1:]},
                {"weights": [1.0]},
                {"steps": -1},
                {"lr": 0.0},
                {"noise": -1.0},
            ],
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_a_kernel(name):
    fn, arrays, options = CASES[name]
    check_kernel(fn, *arrays, **options)


def test_leading_features_follow_the_dtype_under_jit_and_vmap():
    key = jax.random.key(0)

    def leading(x, key=key):
        return fm.leading_features(x, LABELS, W, top=2, key=key, classes=3)

    both = jax.jit(jax.vmap(leading))(jnp.stack([F, 2 * F]))
    for value, one in zip(both, leading(F), strict=True):
        assert jnp.allclose(some(value)[0], some(one), atol=1e-12)
    assert all(some(value).dtype == jnp.float32 for value in leading(F.astype(jnp.float32)))
