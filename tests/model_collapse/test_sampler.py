"""The simulated runs have the law that the definition of their scenario gives them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from theorysim.model_collapse import Scenario, Simulation, diversity_factor, simulate, simulate_laws

P = jnp.array([0.4, 0.0, 0.3, 0.2, 0.1])
SCENARIOS = [
    Scenario("replace", n=6),
    Scenario("mixed", n=5, N=7),
    Scenario("mixed", n=40, N=4),
    Scenario("accumulate", n=9, N=2),
    Scenario("window", n=11, K=4),
    Scenario("window", n=11, K=4, resample="fresh"),
    Scenario("random_pool", n=5),
    Scenario("fresh_real", n=9, N=3, a=0.8),
]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=str)


@functools.cache
def runs_of(scenario: Scenario) -> Simulation:
    return simulate(jax.random.key(7), P, scenario, num_gens=8, num_runs=20_000)


@each_scenario
def test_mean_sum_of_squares_follows_the_exact_recursion(scenario):
    sigma = np.asarray(runs_of(scenario).sigma)[:, 1:]
    exact = 1 - np.asarray(diversity_factor(scenario, 8))[1:] * (1 - float(P @ P))
    z = (sigma.mean(0) - exact) / (sigma.std(0, ddof=1) / np.sqrt(len(sigma)))
    assert np.abs(z).max() < 4


def literal_run(rng: np.random.Generator, scenario: Scenario, num_gens: int) -> np.ndarray:
    """Models 0..num_gens of one run, from the table of scenarios, by multinomial draws from whole laws."""
    p, n, N, K = np.asarray(P), scenario.n, scenario.N, scenario.K
    draw = rng.multinomial
    models, real, batches = [p], draw(N, p), []
    for m in range(1, num_gens + 1):
        last, window = models[-1], range(max(0, m - K), m)
        match scenario.kind:
            case "replace":
                model = draw(n, last) / n
            case "mixed":
                model = real / N if m == 1 else (real + draw(n, last)) / (N + n)
            case "accumulate":
                batches.append(real if m == 1 else draw(n, last))
                model = np.sum(batches, axis=0) / np.sum(batches)
            case "window" if scenario.resample == "pooled":
                batches.append(draw(n // K, last))
                model = np.mean([batches[t] / (n // K) for t in window], axis=0)
            case "window":
                model = np.mean([draw(n // K, models[t]) / (n // K) for t in window], axis=0)
            case "random_pool":
                sources = np.bincount(rng.integers(0, m, n), minlength=m)
                model = sum(draw(k, models[t]) for t, k in enumerate(sources)) / n
            case "fresh_real":
                a = scenario.synthetic_weight
                model = (1 - a) * draw(N, p) / N + a * draw(n, last) / n
        models.append(model)
    return np.array(models)


def traits(laws: np.ndarray, first: np.ndarray) -> dict[str, np.ndarray]:
    logs = np.log(np.where(laws > 0, laws, 1))
    return {
        "sigma": (laws**2).sum(-1),
        "l1": np.abs(laws - first).sum(-1),
        "support": (laws > 0).sum(-1),
        "entropy": -(laws * logs).sum(-1),
        "l2": ((laws - first) ** 2).sum(-1),
    }


def same_law(a: np.ndarray, b: np.ndarray) -> np.floating:
    """P-value of the two-sample Kolmogorov-Smirnov test; too large where there are ties."""
    return np.asarray(stats.ks_2samp(a, b, method="asymp"))[1]


@each_scenario
def test_every_trait_has_the_law_of_a_literal_simulation(scenario):
    rng = np.random.default_rng(5)
    laws = np.array([literal_run(rng, scenario, 6) for _ in range(700)])
    expected = traits(laws, laws[:, 1:2])
    runs = runs_of(scenario)
    for name, slow in expected.items():
        fast = np.asarray(getattr(runs, name))[:, :7]
        error = np.sqrt(slow.var(0) / len(slow) + fast.var(0) / len(fast))
        gap = np.abs(slow.mean(0) - fast.mean(0))
        assert (gap <= 4.5 * error + 1e-12).all(), (name, gap / error)
        for m in (3, 6):
            # Equal laws to rounding: without it the steps of the discrete distributions fall apart.
            assert same_law(slow[:, m].round(9), fast[:, m].round(9)) > 1e-4, (name, m)


@functools.cache
def laws_of(scenario: Scenario) -> np.ndarray:
    """The first runs of `runs_of`, at all generations."""
    return np.asarray(simulate_laws(jax.random.key(7), P, scenario, tuple(range(9)), 300))


@each_scenario
def test_traits_are_those_of_the_recorded_laws_however_many_runs_there_are(scenario):
    laws, runs = laws_of(scenario), runs_of(scenario)
    np.testing.assert_array_equal(laws[:, 0], np.broadcast_to(P, (300, 5)))
    np.testing.assert_allclose(laws.sum(-1), 1, rtol=1e-14)
    for name, expected in traits(laws, laws[:, 1:2]).items():
        got = np.asarray(getattr(runs, name))[:300]
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15, err_msg=name)


@each_scenario
def test_a_token_without_probability_never_appears(scenario):
    laws = laws_of(scenario)
    assert (laws[..., 1] == 0).all()
    assert (laws[:, 1] > 0).any(0).sum() == 4


@each_scenario
def test_collapse_time_is_the_first_generation_of_one_token(scenario):
    runs = runs_of(scenario)
    one_token = np.asarray(runs.support)[:, 1:] == 1
    time = np.where(one_token.any(1), one_token.argmax(1) + 1, np.inf)
    np.testing.assert_array_equal(runs.T, time)
    assert (np.asarray(runs.survivor == -1) == np.isinf(time)).all()
    np.testing.assert_allclose(np.asarray(runs.sigma)[:, 1:][one_token], 1, rtol=1e-15)
    for law, when, survivor in zip(laws_of(scenario), runs.T, runs.survivor, strict=False):
        assert survivor == -1 or law[int(when), survivor] > 1 - 1e-15


def test_collapse_time_of_two_tokens_follows_the_binomial_chain():
    n, q, num_runs = 5, 0.3, 40_000
    runs = simulate(jax.random.key(4), jnp.array([q, 1 - q]), Scenario("replace", n=n), 30, num_runs)
    counts = np.arange(n + 1)
    chain = stats.binom.pmf(counts[None], n, counts[:, None] / n)
    law = stats.binom.pmf(counts, n, q)
    for m in range(1, 31):
        exact = law[0] + law[n]
        z = ((np.asarray(runs.T) <= m).mean() - exact) / np.sqrt(exact * (1 - exact) / num_runs)
        assert abs(z) < 4, m
        law = law @ chain


@pytest.mark.parametrize("scenario", [Scenario("replace", n=1), Scenario("random_pool", n=1)], ids=str)
def test_one_sample_is_a_collapsed_model(scenario):
    runs = simulate(jax.random.key(0), P, scenario, num_gens=3, num_runs=2000)
    assert (runs.T == 1).all()
    frequencies = np.bincount(runs.survivor, minlength=5) / 2000
    np.testing.assert_allclose(frequencies, P, atol=0.05)


@pytest.mark.parametrize(
    ("kind", "p"), [(0, [1.0]), (1, [0.0, 1.0, 0.0]), (5, [0.0, 1.0, 0.0]), (7, [0.0, 1.0, 0.0])]
)
def test_a_truth_of_one_token_collapses_at_generation_one(kind, p):
    p = jnp.array(p)
    runs = simulate(jax.random.key(0), p, SCENARIOS[kind], num_gens=4, num_runs=3)
    assert (runs.T == 1).all()
    assert (runs.survivor == jnp.argmax(p)).all()
    np.testing.assert_allclose(runs.sigma, 1, rtol=1e-15)
    np.testing.assert_allclose([*runs.l1, *runs.l2, *runs.entropy], 0, atol=1e-15)


@pytest.mark.parametrize("kind", [3, 6])
def test_generations_do_not_depend_on_how_many_follow(kind):
    few = runs_of(SCENARIOS[kind])
    many = simulate(jax.random.key(7), P, SCENARIOS[kind], num_gens=400, num_runs=3)
    for name in ("sigma", "l1", "support", "entropy", "l2"):
        np.testing.assert_allclose(getattr(few, name)[:3], getattr(many, name)[:, :9], rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(few.T[:3], np.where(many.T > 8, np.inf, many.T))


@pytest.mark.parametrize(
    "scenario",
    [Scenario("accumulate", n=9, N=2), Scenario("window", n=4, resample="fresh")],
    ids=str,
)
def test_one_generation_is_enough(scenario):
    runs = simulate(jax.random.key(0), P, scenario, num_gens=1, num_runs=4)
    assert runs.sigma.shape == (4, 2)
    assert (runs.l1[:, 1] == 0).all()


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("kind", [2, 5])
def test_traced_truth_and_batched_keys_change_nothing(kind):
    scenario = SCENARIOS[kind]
    kernel = functools.partial(simulate, scenario=scenario, num_gens=6, num_runs=4)
    keys = jax.random.split(jax.random.key(0), 3)
    ps = jnp.stack([P, P[::-1], jnp.full(5, 0.2)])
    loop = [kernel(key, p) for key, p in zip(keys, ps, strict=True)]
    batched = jax.vmap(kernel)(keys, ps)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-14)
    if scenario.kind == "mixed":
        equal(jax.jit(kernel)(keys[0], ps[0]), loop[0])
    for name in ("support", "T", "survivor"):
        equal(getattr(batched, name), jnp.stack([getattr(one, name) for one in loop]))
    for name in ("sigma", "l1", "entropy", "l2"):
        close(getattr(batched, name), jnp.stack([getattr(one, name) for one in loop]), err_msg=name)


def test_synthetic_weight_may_be_traced():
    def mean_sigma(a):
        scenario = Scenario("fresh_real", n=10, N=10, a=a)
        return simulate(jax.random.key(0), P, scenario, 4, 50).sigma.mean(0)

    weights = jnp.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(jax.vmap(mean_sigma)(weights), [mean_sigma(float(a)) for a in weights])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_have_the_dtype_of_p(dtype):
    p = jnp.array([0.5, 0.25, 0.25], dtype)
    runs = simulate(jax.random.key(0), p, Scenario("mixed", n=3000, N=5), num_gens=4, num_runs=2)
    for name in ("sigma", "l1", "entropy", "l2"):
        assert getattr(runs, name).dtype == p.dtype, name
    assert runs.T.dtype == jnp.float32
    assert runs.support.dtype == runs.survivor.dtype == jnp.int32
    laws = simulate_laws(jax.random.key(0), p, Scenario("replace", n=3000), (0, 4), 2)
    assert laws.dtype == p.dtype
    np.testing.assert_allclose(laws.astype(float).sum(-1), 1, atol=1e-2)


def test_whole_laws_in_float32_lose_no_sample():
    n = 3 * 2**23  # float32 cannot count that far by ones
    laws = simulate_laws(jax.random.key(0), jnp.ones(1, jnp.float32), Scenario("replace", n=n), (1,), 1)
    assert laws[0, 0, 0] == 1


@pytest.mark.parametrize("impl", ["rbg"])
def test_other_key_implementations_serve(impl):
    runs = simulate(jax.random.key(0, impl=impl), P, SCENARIOS[0], num_gens=3, num_runs=4000)
    exact = 1 - (1 - 1 / 6) ** 3 * (1 - float(P @ P))
    error = float(runs.sigma[:, 3].std()) / 4000**0.5
    assert abs(float(runs.sigma[:, 3].mean()) - exact) < 4 * error


GOOD = dict(p=P, scenario=Scenario("replace", n=3), num_gens=2, num_runs=2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(p=jnp.array([0.5, 0.6])), r"p must sum to 1 .*1\.1"),
        (dict(p=jnp.array([1.5, -0.5])), r"p must have entries in \[0, 1\], got -0\.5"),
        (dict(p=jnp.array([np.nan, 1.0])), "p must be a distribution .*got NaN"),
        (dict(p=jnp.full((2, 2), 0.5)), r"p must be one distribution of shape \(s,\), got shape \(2, 2\)"),
        (dict(p=jnp.ones(())), "p must have at least one axis"),
        (dict(num_gens=0), "num_gens must be an integer >= 1, got 0"),
        (dict(num_runs=0), "num_runs must be an integer >= 1, got 0"),
        (dict(num_runs=-3), "num_runs must be an integer >= 1, got -3"),
        (dict(scenario=Scenario("replace", n=2.5)), r"n must be an integer >= 1, got 2\.5"),
        (dict(scenario=Scenario("mixed", n=3, N=1.5)), r"N must be an integer >= 0, got 1\.5"),
        (dict(scenario=Scenario("window", n=3, K=3)), r"K must be an integer in \[1, num_gens = 2\], got 3"),
        (dict(num_gens=2**30), r"N \+ n \* num_gens must be below 2\*\*31 .*n=3, num_gens=1073741824"),
    ],
)
def test_bad_input_is_named(bad, message):
    with pytest.raises(ValueError, match=message):
        simulate(jax.random.key(0), **GOOD | bad)


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        ("replace", dict(n=0), "n must be"),
        ("mixed", dict(n=3), "N must be"),
        ("accumulate", dict(n=3, N=-1), "N must be"),
        ("fresh_real", dict(n=3, N=3, a=1.5), "a must be"),
        ("window", dict(n=3, K=0), "K must be"),
    ],
)
def test_no_scenario_is_made_of_bad_sizes(kind, sizes, message):
    with pytest.raises(ValueError, match=message):
        Scenario(kind, **sizes)


@pytest.mark.parametrize("record", [(), (0,), (2, 1), (1, 1), (-1, 2), (1, 2.5)])
def test_record_must_ascend(record):
    untyped = getattr(simulate_laws, "__wrapped__", simulate_laws)
    with pytest.raises(ValueError, match="record must be"):
        untyped(jax.random.key(0), P, SCENARIOS[0], record, 1)


def test_sizes_may_not_be_traced():
    with pytest.raises(TypeError, match="n sets array sizes"):
        jax.jit(lambda n: simulate(jax.random.key(0), P, Scenario("replace", n=n), 2, 2))(3)
