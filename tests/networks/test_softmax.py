"""The trained linear softmax against closed forms, and recursive training against the exact process."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy.stats import binom

from tests.check_kernel import check_kernel
from theorysim.networks import softmax
from theorysim.networks.softmax import mutation_floor, recursive_training, train
from theorysim.numerics import stats

COUNTS = jnp.array([[6, 2, 1, 0], [0, 3, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]])


def descend(counts, rate, num_steps):
    """Plain descent in numpy, from the closed form of the gradient."""
    joint = np.asarray(counts, float) / np.sum(counts)
    logits = np.zeros_like(joint)
    for _ in range(num_steps):
        law = np.exp(logits - logits.max(axis=1, keepdims=True))
        law /= law.sum(axis=1, keepdims=True)
        logits -= rate * (joint.sum(axis=1, keepdims=True) * law - joint)
    law = np.exp(logits - logits.max(axis=1, keepdims=True))
    return law / law.sum(axis=1, keepdims=True)


# --- training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 2, 7, 100])
@pytest.mark.parametrize("rate", [0.3, 2.0])
def test_every_step_follows_the_closed_form_of_the_gradient(rate, num_steps):
    laws = train(COUNTS, learning_rate=rate, num_steps=num_steps, dtype=jnp.float64)
    np.testing.assert_allclose(laws, descend(COUNTS, rate, num_steps), rtol=1e-12)


def test_the_step_is_that_of_the_linear_layer_on_one_hot_contexts():
    """The shortcut of reading the kernel is the network: the same gradient as through its inputs."""
    network = nnx.Linear(4, 4, use_bias=False, rngs=nnx.Rngs(1), param_dtype=jnp.float64)
    graphdef, params = nnx.split(network)
    target = COUNTS / COUNTS.sum()

    def loss(params, logits_of):
        return -jnp.sum(target * jax.nn.log_softmax(logits_of(nnx.merge(graphdef, params))))

    short = jax.grad(lambda p: loss(p, softmax._logits))(params)
    whole = jax.grad(lambda p: loss(p, lambda net: net(jnp.eye(4))))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), short, whole)


def test_training_converges_to_the_empirical_law():
    counts = jnp.array([[6, 2, 1, 3], [1, 1, 4, 2]])
    laws = train(counts, num_steps=2000, dtype=jnp.float64)
    np.testing.assert_allclose(laws, counts / counts.sum(axis=1, keepdims=True), rtol=1e-10)
    # At a constant rate Adam never rests: where gradients are rounding errors it still steps at its rate.
    decaying = optax.adam(optax.cosine_decay_schedule(0.1, 1000))
    adam = train(counts, optimizer=decaying, num_steps=1000)
    np.testing.assert_allclose(adam, counts / counts.sum(axis=1, keepdims=True), rtol=2e-6)


def test_float32_is_the_default_and_close():
    single = train(COUNTS, num_steps=500)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, train(COUNTS, num_steps=500, dtype=jnp.float64), rtol=2e-5)


def test_a_context_without_samples_stays_uniform():
    np.testing.assert_array_equal(train(COUNTS, num_steps=50)[2], 0.25)


def test_the_default_rate_is_one_over_the_largest_frequency():
    frequency = 9 / 20
    np.testing.assert_allclose(
        train(COUNTS, num_steps=30), train(COUNTS, learning_rate=1 / frequency, num_steps=30), rtol=1e-6
    )


def test_only_proportions_of_the_counts_matter():
    np.testing.assert_allclose(train(COUNTS, num_steps=30), train(COUNTS * 7.0, num_steps=30), rtol=1e-6)


def test_learning_rates_and_counts_are_batched_by_vmap():
    rates, batch = jnp.array([0.5, 1.0, 2.0]), jnp.stack([COUNTS, COUNTS + 1, COUNTS[::-1]])

    def one(counts, rate):
        return train(counts, learning_rate=rate, num_steps=40, dtype=jnp.float64)

    together = jax.vmap(one)(batch, rates)
    np.testing.assert_allclose(together, jnp.stack(list(map(one, batch, rates))), rtol=1e-13)


def test_a_run_beyond_all_numbers_is_nan_and_no_crash():
    """Descent of this loss swings, but only an overflow ends in NaN; what learns from NaN is NaN."""
    assert jnp.isnan(train(COUNTS, learning_rate=jnp.inf, num_steps=3)).any()
    run = recursive_training(
        jax.random.key(0), jnp.ones(1), jnp.ones((1, 4)) / 4, num_samples=9, num_gens=3, learning_rate=jnp.inf
    )
    assert jnp.isnan(run.sigma[1:]).all()
    assert not jnp.isnan(run.sigma[0]).any()


# --- the mutation floor -----------------------------------------------------------------------------------


def test_the_measured_floor_of_three_seen_tokens_of_five():
    t = 20_000
    law = train(jnp.array([[4, 3, 3, 0, 0]]), learning_rate=1.0, num_steps=t, dtype=jnp.float64)[0]
    assert law[3] == law[4]
    np.testing.assert_allclose(law[3] * t, 0.6, rtol=2e-3)


@pytest.mark.parametrize(("k", "s"), [(1, 2), (1, 8), (3, 5), (6, 8), (20, 65)])
@pytest.mark.parametrize(("eta", "f"), [(1.0, 1.0), (2.0, 0.25)])
def test_the_floor_law_holds_once_the_seen_tokens_are_learnt(k, s, eta, f):
    """For k equally frequent tokens the flow gives 1/p = (s/k) eta f t + s - (s - k) ln(q/p)."""
    counts = np.zeros((2, s))
    counts[0, :k] = f / k
    counts[1, 0] = 1 - f
    steps = round(400 * k / (eta * f))
    law = train(jnp.asarray(counts), learning_rate=eta, num_steps=steps, dtype=jnp.float64)[0]
    p, q, clock = float(law[-1]), float(law[0]), eta * f * steps
    # Steps of finite size run ahead of the flow, by half a step per factor e that the slope has fallen.
    discrete = clock + eta * f / 2 * np.log(1 / (s * p))
    solution = s / k * discrete + s - (s - k) * np.log(q / p)
    # What is left of the discreteness is a fraction of one step, here of hundreds.
    assert abs(1 / p - solution) / (s / k * eta * f) < 0.5
    floor = mutation_floor(k, s, learning_rate=eta, frequency=f, num_steps=steps)
    np.testing.assert_allclose(p, floor, rtol=0.02)


def test_the_floor_law_fails_before_the_rarest_seen_token_is_learnt():
    counts = jnp.array([[999, 1, 0, 0]])
    early = train(counts, learning_rate=1.0, num_steps=100, dtype=jnp.float64)[0]
    floor = mutation_floor(2, 4, learning_rate=1.0, frequency=1.0, num_steps=100)
    # eta f t phat = 0.1: the seen token is still as good as unseen, so k = 1 describes it better.
    assert abs(early[2] / floor - 1) > 0.2
    assert abs(early[2] / (floor / 2) - 1) < 0.2


def test_mutation_floor_is_a_kernel():
    static = {"learning_rate": 0.5, "frequency": 0.2, "num_steps": 100}
    check_kernel(
        mutation_floor,
        jnp.array([3.0, 2.0]),
        jnp.array([5.0, 8.0]),
        static=static,
        bad=[
            {"num_seen": 0.5},
            {"num_tokens": 0.0},
            {"num_seen": [6.0, 2.0]},
            {"learning_rate": 0.0},
            {"frequency": 1.5},
            {"num_steps": 0},
        ],
    )


# --- recursion --------------------------------------------------------------------------------------------

CONTEXTS = jnp.array([0.7, 0.25, 0.05])
LAWS = jnp.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.1, 0.4, 0.4], [0.25, 0.25, 0.25, 0.25]])


def replicas(num_replicas, *, contexts=CONTEXTS, laws=LAWS, **options):
    keys = jax.random.split(jax.random.key(0), num_replicas)
    return jax.vmap(lambda key: recursive_training(key, contexts, laws, **options))(keys)


def test_sampled_pairs_have_their_joint_law():
    joint = CONTEXTS[:, None] * LAWS
    keys = jax.random.split(jax.random.key(1), 4000)
    counts, target = jax.vmap(lambda key: softmax._sample(key, joint, 50))(keys)
    assert (counts.sum(axis=(1, 2)) == 50).all()
    np.testing.assert_allclose(target, np.asarray(counts) / 50, rtol=1e-15)
    assert counts[:, 0, 3].max() == 0
    est = stats.mean_and_error(counts)
    assert stats.within(est.mean, 50 * joint, est.standard_error, resolution=0.4).status == "confirmed"
    spread = stats.variance_and_error(counts)
    exact = 50 * joint * (1 - joint)
    assert stats.within(spread.mean, exact, spread.standard_error, resolution=1.5).status == "confirmed"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_what_has_probability_zero_is_never_drawn(dtype):
    """Sums of a thousand tiny terms round; the inversion must not open a gap for a lost token."""
    law = jax.random.uniform(jax.random.key(2), (65, 65), dtype) ** 20
    law = jnp.where(jax.random.bernoulli(jax.random.key(3), 0.5, law.shape), law, 0)
    counts, _ = softmax._sample(jax.random.key(4), law / law.sum(), 2**20)
    assert counts.sum() == 2**20
    assert jnp.where(law == 0, counts, 0).sum() == 0


def test_the_first_generation_of_the_exact_minimiser_has_the_moments_of_sampling():
    run = replicas(4000, num_samples=30, num_gens=1, minimiser="exact", dtype=jnp.float64)
    np.testing.assert_allclose(
        run.sigma[:, 0], jnp.broadcast_to((LAWS**2).sum(axis=1), (4000, 3)), rtol=1e-14
    )
    n = np.arange(31)
    frequency = np.asarray(CONTEXTS)
    # E sigma given n_j samples: 1/n + (1 - 1/n) S_0, and 1/s in a context without any.
    start = np.asarray(run.sigma[0, 0])
    given = np.where(n[:, None] > 0, 1 / np.maximum(n, 1)[:, None] * (1 - start) + start, 0.25)
    expected = (binom.pmf(n[:, None], 30, frequency) * given).sum(axis=0)
    est = stats.mean_and_error(run.sigma[:, 1])
    assert stats.within(est.mean, expected, est.standard_error, resolution=0.03).status == "confirmed"
    drawn = stats.mean_and_error(run.sample_counts[:, 0])
    assert stats.within(drawn.mean, 30 * CONTEXTS, drawn.standard_error, resolution=0.3).status == "confirmed"


def test_the_exact_process_of_one_context_is_wright_fisher():
    laws = jnp.array([[0.5, 0.3, 0.2]])
    run = replicas(3000, contexts=jnp.ones(1), laws=laws, num_samples=10, num_gens=12, minimiser="exact")
    start = float((laws**2).sum())
    predicted = 1 - (1 - 0.1) ** np.arange(13) * (1 - start)
    est = stats.mean_and_error(run.sigma[..., 0])
    assert (
        stats.within(est.mean, predicted, est.standard_error, resolution=0.05, bias=1e-6).status
        == "confirmed"
    )
    # A lost token stays lost.
    assert (jnp.diff(run.support, axis=1) <= 0).all()


def test_the_same_key_draws_the_same_first_samples_whatever_the_minimiser():
    runs = [
        replicas(5, minimiser=m, num_samples=60, num_gens=2, num_steps=30)
        for m in ("trained", "thresholded", "exact")
    ]
    for run in runs[:2]:
        np.testing.assert_array_equal(run.sample_counts[:, 0], runs[2].sample_counts[:, 0])


def test_the_trained_network_is_the_exact_minimiser_up_to_its_floor():
    options = {"num_samples": 200, "num_gens": 1, "contexts": CONTEXTS[:1] / 0.7, "laws": LAWS[:1]}
    trained = replicas(20, num_steps=4000, **options)
    exact = replicas(20, minimiser="exact", **options)
    floor = float(mutation_floor(3, 4, learning_rate=1.0, frequency=1.0, num_steps=4000))
    # The seen tokens share what the unseen one keeps, each p = phat - floor/k.
    np.testing.assert_allclose(trained.laws[:, 0, :3], exact.laws[:, 0, :3] - floor / 3, atol=0.02 * floor)
    np.testing.assert_allclose(trained.laws_thresholded, exact.laws, atol=floor)
    np.testing.assert_array_equal(trained.support, exact.support)
    np.testing.assert_allclose(trained.floor[:, 0, 0], floor, rtol=0.01)


def test_the_floor_brings_lost_tokens_back_and_delays_collapse():
    truth = {"contexts": jnp.ones(1), "laws": jnp.full((1, 10), 0.1)}
    trained, thresholded, exact = (
        stats.mean_and_error(
            replicas(256, **truth, num_samples=12, num_gens=40, num_steps=100, minimiser=m).sigma[:, -1, 0]
        )
        for m in ("trained", "thresholded", "exact")
    )
    gap = [thresholded.mean - trained.mean, exact.mean - trained.mean]
    error = [np.hypot(other.standard_error, trained.standard_error) for other in (thresholded, exact)]
    assert stats.bounded(gap, error, lower=0.0).status == "confirmed"


def test_thresholding_at_one_takes_exactly_the_unseen_tokens():
    options = {"contexts": jnp.ones(1), "laws": jnp.full((1, 10), 0.1), "num_samples": 12, "num_gens": 5}
    run = replicas(30, minimiser="thresholded", floor_threshold=1.0, num_steps=2000, **options)
    exact = replicas(30, minimiser="exact", **options)
    np.testing.assert_array_equal(run.support[:, 1], exact.support[:, 1])
    assert (jnp.diff(run.support, axis=1) <= 0).all()


def test_replicas_by_vmap_are_replicas_by_loop():
    options = {"num_samples": 40, "num_gens": 3, "num_steps": 50, "dtype": jnp.float64}
    together = replicas(3, **options)
    keys = jax.random.split(jax.random.key(0), 3)
    alone = [recursive_training(key, CONTEXTS, LAWS, **options) for key in keys]
    for name in together._fields:
        looped = jnp.stack([getattr(run, name) for run in alone])
        np.testing.assert_allclose(getattr(together, name), looped, rtol=1e-11, err_msg=name)


def test_shapes_and_types_of_a_run():
    run = recursive_training(jax.random.key(0), CONTEXTS, LAWS, num_samples=20, num_gens=4, num_steps=5)
    assert [x.shape for x in run] == [(5, 3), (5, 3), (5, 3), (4, 3), (4, 3), (3, 4), (3, 4)]
    assert {x.dtype.name for x in (run.sigma, run.floor, run.laws)} == {"float32"}
    assert run.support.dtype == run.sample_counts.dtype
    assert (run.sample_counts.sum(axis=1) == 20).all()
    np.testing.assert_allclose((run.laws**2).sum(axis=1), run.sigma[-1], rtol=1e-6)
    np.testing.assert_allclose((run.laws_thresholded**2).sum(axis=1), run.sigma_thresholded[-1], rtol=1e-6)


def test_adam_trains_a_recursion_too():
    adam = optax.adam(0.1)
    run = replicas(8, num_samples=100, num_gens=2, num_steps=500, optimizer=adam)
    exact = replicas(8, num_samples=100, num_gens=2, minimiser="exact")
    np.testing.assert_allclose(run.sigma_thresholded[:, 1, :2], exact.sigma[:, 1, :2], atol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(jnp.ones(3)), r"counts must be a \(contexts, tokens\) array, got shape \(3,\)"),
        (lambda: train(jnp.array([[1.0, -1.0]])), r"counts must be in \[0, inf\], got -1"),
        (lambda: train(jnp.zeros((2, 2))), "counts must hold at least one sample, got zeros only"),
        (lambda: train(COUNTS, num_steps=0), "num_steps must be an integer >= 1, got 0"),
        (lambda: train(COUNTS, learning_rate=0.0), r"learning_rate must be in \(0, inf\], got 0"),
        (
            lambda: train(COUNTS, learning_rate=1.0, optimizer=optax.sgd(1.0)),
            "learning_rate must be None when",
        ),
    ],
)
def test_bad_training_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_law": jnp.array([0.5, 0.6])}, "context_law must sum to 1"),
        ({"laws": LAWS * 2}, "laws must sum to 1"),
        ({"laws": LAWS[:2]}, r"laws must have shape \(len\(context_law\), s\), got \(2, 4\) for \(3,\)"),
        ({"num_samples": 0}, r"num_samples must be an integer in \[1, 16777216\], got 0"),
        ({"num_gens": 0}, "num_gens must be an integer >= 1, got 0"),
        ({"num_steps": -1}, "num_steps must be an integer >= 1, got -1"),
        ({"floor_threshold": 0.5}, r"floor_threshold must be in \[1, inf\], got 0.5"),
        ({"learning_rate": -1.0}, r"learning_rate must be in \(0, inf\], got -1"),
    ],
)
def test_bad_recursion_input_is_named(options, message):
    good = {"context_law": CONTEXTS, "laws": LAWS, "num_samples": 5, "num_gens": 1, "num_steps": 1}
    with pytest.raises(ValueError, match=message):
        recursive_training(jax.random.key(0), **(good | options))
