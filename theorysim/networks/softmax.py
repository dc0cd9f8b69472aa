r"""The linear softmax of next-token prediction, trained by gradients, and trained again on its own samples.

A context j is a one-hot vector in R^c, a token is one of s, the model is softmax(W^T x) with W (c, s).
Training starts from W = 0 and minimises the cross-entropy of n samples, n_ji of them token i in context j, by
full-batch steps:

    L(W) = -sum_ji (n_ji / n) log softmax(W_j)_i        grad_j L = f_j (softmax(W_j) - phat_j)

with f_j = n_j / n the frequency of the context and phat_j = n_ji / n_j its empirical law, the exact
minimiser. But a token that context j never showed is not driven to zero: with k of s tokens seen, t steps at
the rate eta leave it the *mutation floor* (k/s) / (eta f_j t) (derived in docs/model_collapse.md). So in
recursive training, where each model learns from samples of the one before, no token is lost for good, and
collapse comes later than with the exact minimiser.

Model: M. E. A. Seddik et al., arXiv 2404.05090, section 3.

Example:
    >>> import jax
    >>> truth = jnp.full((2, 8), 1 / 8)
    >>> run = recursive_training(jax.random.key(0), jnp.array([0.5, 0.5]), truth, num_samples=40, num_gens=30)
    >>> run.sigma.shape  # sums of squares: 1/8 where all tokens are alike, 1 where one is left
    (31, 2)
    >>> exact = recursive_training(
    ...     jax.random.key(0), jnp.array([0.5, 0.5]), truth, num_samples=40, num_gens=30, minimiser="exact"
    ... )
    >>> bool((run.sigma[-1] < exact.sigma[-1]).all())
    True
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theorysim.numerics.validation import choice, floating, is_traced, positive_int, probabilities, real

__all__ = ["Minimiser", "RecursiveTraining", "mutation_floor", "recursive_training", "train"]

Minimiser = Literal["trained", "thresholded", "exact"]

# Loop iterations fused into one: dispatch is half the cost of a step of this size on a CPU.
_UNROLL = 4


class RecursiveTraining(NamedTuple):
    """What recursive training leaves behind; generation 0 is the truth. Everything is per context.

    `sigma` (G+1, c) is the sum of squared probabilities of the law that the next generation samples from, and
    `sigma_thresholded` that of the same law with the floor taken off: tokens at most `floor_threshold` times
    the floor set to zero, and what they held shared equally by the others, from which descent took it.
    `support` (G+1, c) counts the tokens above the floor.
    `sample_counts` (G, c) are the samples n_j of each context, and `floor` (G, c) is the largest probability
    of a token that they do not show (0 if they show all; 1/s if there are none, and then nothing is taken
    off). `laws` and `laws_thresholded` (c, s) are those of the last generation.
    """

    sigma: Float[Array, "G+1 c"]
    sigma_thresholded: Float[Array, "G+1 c"]
    support: Int[Array, "G+1 c"]
    sample_counts: Int[Array, "G c"]
    floor: Float[Array, "G c"]
    laws: Float[Array, "c s"]
    laws_thresholded: Float[Array, "c s"]


def train(
    counts: ArrayLike,
    *,
    learning_rate: ArrayLike | None = None,
    num_steps: int = 2000,
    optimizer: optax.GradientTransformation | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "c s"]:
    """Train the linear softmax from zero on token counts per context; return what it predicts.

    A context without a sample has no gradient, and its prediction stays uniform. A diverging run gives NaN.

    Args:
        counts: (c, s) counts >= 0, or any positive weights; only their proportions matter.
        learning_rate: eta of plain gradient descent, > 0; by default 1 / (largest context frequency). Descent
            is stable below 4 / (largest context frequency).
        num_steps: full-batch steps t, >= 1. Context j has learnt its tokens of probability p once
            eta f_j t p >> 1.
        optimizer: any optax transformation in place of plain descent, such as `optax.adam(0.1)`. Make it once
            and reuse it: each new object is compiled anew.
        dtype: floating type of weights and computation.

    Returns:
        Predicted laws (c, s) of `dtype`.

    Raises:
        ValueError: counts that are no (c, s) array of numbers >= 0 with a positive sum, a rate that is not
            positive, no steps, or both a rate and an optimizer.

    Example:
        >>> counts = jnp.array([[6, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
        >>> train(counts, num_steps=1000).round(3).tolist()[1]
        [0.25, 0.25, 0.25, 0.25]
        >>> adam = train(counts, optimizer=optax.adam(0.1))
        >>> bool(jnp.allclose(adam[0], jnp.array([0.75, 0.25, 0, 0]), atol=1e-3))
        True
    """
    counts = floating(counts)
    if counts.ndim != 2 or counts.size == 0:
        raise ValueError(f"counts must be a (contexts, tokens) array, got shape {counts.shape}")
    real(counts, "counts", low=0.0)
    if not is_traced(counts) and not counts.sum() > 0:
        raise ValueError("counts must hold at least one sample, got zeros only")
    num_steps = positive_int(num_steps, "num_steps")
    target = counts.astype(dtype) / counts.sum().astype(dtype)
    rate = _learning_rate(learning_rate, optimizer, target.sum(axis=1))
    return _train(target, rate, num_steps, optimizer)


def mutation_floor(
    num_seen: ArrayLike,
    num_tokens: ArrayLike,
    *,
    learning_rate: ArrayLike,
    frequency: ArrayLike,
    num_steps: ArrayLike,
) -> Float[Array, "..."]:
    """Probability (k/s) / (eta f t) that plain gradient descent leaves to each unseen token of a context.

    Late in training the seen tokens gain together the logit that the s - k unseen ones of probability p lose,
    so that dp/dt = -eta f (s/k) p². Valid once every seen token has been learnt, eta f t phat_i >> 1, and the
    floor is far below 1/s. With k equally frequent tokens of probability q the solution from the uniform
    start is 1/p = (s/k) eta f t + s - (s - k) ln(q/p): the floor is the first term.

    Args:
        num_seen: k, distinct tokens among the samples of the context, in [1, s].
        num_tokens: s, tokens in all.
        learning_rate: eta > 0.
        frequency: f in (0, 1], share of the samples in this context.
        num_steps: t >= 1.

    Returns:
        The floor, of the arguments' broadcast shape. With k = s no token is unseen, and the number means
        nothing.

    Example:
        >>> round(float(mutation_floor(3, 5, learning_rate=1.0, frequency=1.0, num_steps=2000)), 7)
        0.0003
    """
    real(num_tokens, "num_tokens", low=1)
    real(num_seen, "num_seen", low=1)
    real(learning_rate, "learning_rate", low=0, low_open=True)
    real(frequency, "frequency", low=0, high=1, low_open=True)
    real(num_steps, "num_steps", low=1)
    if not is_traced((num_seen, num_tokens)) and jnp.any(jnp.asarray(num_seen) > jnp.asarray(num_tokens)):
        raise ValueError(f"num_seen must be at most num_tokens, got {num_seen} of {num_tokens}")
    seen_share = jnp.asarray(num_seen) / jnp.asarray(num_tokens)
    return floating(seen_share / (jnp.asarray(learning_rate) * frequency * num_steps))


def recursive_training(
    key: PRNGKeyArray,
    context_law: ArrayLike,
    laws: ArrayLike,
    *,
    num_samples: int,
    num_gens: int,
    learning_rate: ArrayLike | None = None,
    num_steps: int = 2000,
    optimizer: optax.GradientTransformation | None = None,
    minimiser: Minimiser = "trained",
    floor_threshold: ArrayLike = 2.0,
    dtype: DTypeLike = jnp.float32,
) -> RecursiveTraining:
    """Train a network on samples of a truth, the next network on samples of the first, and so on.

    One generation draws `num_samples` contexts from the true context law, a token for each from the current
    model, and trains a new network from zero on them. The same key draws the same uniforms whatever the
    minimiser, so runs that differ in it are paired. Batch over replicas by `jax.vmap` over keys.

    Args:
        key: a `jax.random.key`.
        context_law: (c,) distribution of the contexts, the same in every generation.
        laws: (c, s) true next-token law in each context.
        num_samples: samples per generation over all contexts, in [1, 2^24].
        num_gens: generations G >= 1.
        learning_rate: of plain gradient descent, > 0; by default 1 / max(context_law).
        num_steps: steps per generation, >= 1; see `train`.
        optimizer: any optax transformation in place of plain descent.
        minimiser: "trained": the network as it is. "thresholded": the network with its mutation floor taken
            off before it is sampled. "exact": the empirical law, which the network only approaches; this is
            the process of the theory. All are uniform in a context that got no sample.
        floor_threshold: multiple of the floor, >= 1, up to which a probability counts as none. At 1, exactly
            the unseen tokens; more also takes seen tokens whose samples are too few to tell.
        dtype: floating type of weights, sampling and results. In float32 a probability (context and token
            together) has a resolution of 1e-7.

    Returns:
        RecursiveTraining. From a diverged generation on, everything but the counts is NaN.

    Raises:
        ValueError: an argument out of its range, laws of another shape than (len(context_law), s).

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> replica = lambda key: recursive_training(
        ...     key, jnp.ones(1), jnp.full((1, 4), 0.25), num_samples=20, num_gens=5, num_steps=100
        ... )
        >>> jax.vmap(replica)(keys).sigma.shape
        (4, 6, 1)
    """
    num_samples = positive_int(num_samples, "num_samples", maximum=2**24)
    num_gens = positive_int(num_gens, "num_gens")
    num_steps = positive_int(num_steps, "num_steps")
    choice(minimiser, "minimiser", ("trained", "thresholded", "exact"))
    real(floor_threshold, "floor_threshold", low=1.0)
    context_law, laws = probabilities(context_law, "context_law"), probabilities(laws, "laws")
    if laws.ndim != 2 or context_law.shape != laws.shape[:1]:
        raise ValueError(
            f"laws must have shape (len(context_law), s), got {laws.shape} for {context_law.shape} contexts"
        )
    context_law, laws = context_law.astype(dtype), laws.astype(dtype)
    rate = _learning_rate(learning_rate, optimizer, context_law)
    threshold = jnp.asarray(floor_threshold, dtype)
    return _recurse(
        key, context_law, laws, rate, threshold, num_samples, num_gens, num_steps, optimizer, minimiser
    )


def _learning_rate(
    learning_rate: ArrayLike | None,
    optimizer: optax.GradientTransformation | None,
    frequencies: Float[Array, " c"],
) -> Float[Array, ""]:
    """The checked rate of plain descent; an optimizer brings its own."""
    if learning_rate is None:
        return 1 / frequencies.max()
    if optimizer is not None:
        raise ValueError(f"learning_rate must be None when an optimizer is given, got {learning_rate}")
    real(learning_rate, "learning_rate", low=0.0, low_open=True)
    return jnp.asarray(learning_rate, frequencies.dtype)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _train(
    target: Float[Array, "c s"],
    learning_rate: Float[Array, ""],
    num_steps: int,
    optimizer: optax.GradientTransformation | None,
) -> Float[Array, "c s"]:
    """Train on the joint law `target` of context and token."""
    c, s = target.shape
    network = nnx.Linear(
        c,
        s,
        use_bias=False,
        kernel_init=nnx.initializers.zeros_init(),
        dtype=target.dtype,
        param_dtype=target.dtype,
        rngs=nnx.Rngs(0),
    )
    graphdef, params = nnx.split(network)
    transform = optax.sgd(learning_rate) if optimizer is None else optimizer

    def loss(params):
        return -jnp.sum(target * jax.nn.log_softmax(_logits(nnx.merge(graphdef, params))))

    def step(carry, _):
        params, state = carry
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(
        step, (params, transform.init(params)), length=num_steps, unroll=min(_UNROLL, num_steps)
    )
    return jax.nn.softmax(_logits(nnx.merge(graphdef, params)))


def _logits(network: nnx.Linear) -> Float[Array, "c s"]:
    """The network's output on all c one-hot contexts, which is its kernel: the product with 1 is left out."""
    return network.kernel[...]


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9))
def _recurse(
    key: PRNGKeyArray,
    context_law: Float[Array, " c"],
    laws: Float[Array, "c s"],
    learning_rate: Float[Array, ""],
    threshold: Float[Array, ""],
    num_samples: int,
    num_gens: int,
    num_steps: int,
    optimizer: optax.GradientTransformation | None,
    minimiser: Minimiser,
) -> RecursiveTraining:
    if minimiser == "exact":
        fit = _empirical
    else:
        fit = functools.partial(_train, learning_rate=learning_rate, num_steps=num_steps, optimizer=optimizer)

    def generation(carry, key):
        model, _ = carry
        counts, target = _sample(key, context_law[:, None] * model, num_samples)
        trained = fit(target)
        floor = jnp.where(counts == 0, trained, 0).max(axis=1)
        cleared = _clear(trained, threshold * floor)
        model = cleared if minimiser == "thresholded" else trained
        return (model, cleared), (_measure(model, cleared), counts.sum(axis=1), floor)

    keys = jax.random.split(key, num_gens)
    (model, cleared), (later, sample_counts, floor) = jax.lax.scan(generation, (laws, laws), keys)
    sigma, sigma_cleared, support = (
        jnp.concatenate([first[None], rest]) for first, rest in zip(_measure(laws, laws), later, strict=True)
    )
    return RecursiveTraining(sigma, sigma_cleared, support, sample_counts, floor, model, cleared)


def _sample(
    key: PRNGKeyArray, joint: Float[Array, "c s"], num_samples: int
) -> tuple[Int[Array, "c s"], Float[Array, "c s"]]:
    """Draw pairs (context, token) by inversion of their joint law; return counts and empirical joint law."""
    law = joint.ravel()
    # Parallel sums round unevenly: held monotone, and flat where the law is 0, no lost token comes back.
    cumulative = jax.lax.cummax(jnp.where(law > 0, jnp.cumsum(law), 0))
    total = cumulative[-1]
    uniform = jax.random.uniform(key, (num_samples,), law.dtype)
    position = jnp.minimum(uniform * total, jnp.nextafter(total, jnp.zeros_like(total)))
    pairs = jnp.searchsorted(cumulative, position, side="right")
    counts = jnp.zeros(law.shape, jnp.int32).at[pairs].add(1, mode="drop").reshape(joint.shape)
    # A diverged model cannot be sampled: its successors are NaN too.
    return counts, jnp.where(jnp.isfinite(law.sum()), counts.astype(law.dtype) / num_samples, jnp.nan)


def _empirical(target: Float[Array, "c s"]) -> Float[Array, "c s"]:
    """The exact minimiser: frequencies per context, uniform in a context without samples."""
    frequency = target.sum(axis=1, keepdims=True)
    uniform = jnp.full_like(target, 1 / target.shape[1])
    return jnp.where(frequency == 0, uniform, target / jnp.where(frequency == 0, 1, frequency))


def _clear(laws: Float[Array, "c s"], floor: Float[Array, " c"]) -> Float[Array, "c s"]:
    """Set probabilities up to `floor` to zero; a row of nothing else is left as it is.

    Late in training all seen tokens gain logit at one rate, eta f (phat_i - p_i), so that each lacks the same
    amount: sharing the floor equally gives them back what they lack, scaling them up would not.
    """
    seen = laws > floor[:, None]
    missing = 1 - jnp.where(seen, laws, 0).sum(axis=1, keepdims=True)
    count = seen.sum(axis=1, keepdims=True)
    cleared = jnp.where(seen, laws + missing / jnp.maximum(count, 1), 0)
    return jnp.where(count > 0, cleared, laws)


def _measure(
    model: Float[Array, "c s"], cleared: Float[Array, "c s"]
) -> tuple[Float[Array, " c"], Float[Array, " c"], Int[Array, " c"]]:
    """Sums of squares of both laws, and the number of tokens that the cleared one holds."""
    return (model**2).sum(axis=1), (cleared**2).sum(axis=1), (cleared > 0).sum(axis=1)
