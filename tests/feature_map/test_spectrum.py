"""Spectrum, quality and utility: against the n x n operator, in any split, and what must not change them."""

from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.feature_map.problem import (
    LABELS,
    READOUT,
    WIDE,
    WIDE_LABELS,
    WIDE_READOUT,
    F,
    gaussian_classes,
    some,
)
from theorysim.feature_map import (
    adjusted_quality,
    cumulative,
    effective_numbers,
    eigenfunctions,
    energy_share,
    feature_metrics,
    held_out,
    kernel_features,
    leading_features,
    moments,
    quality,
    truncated_outputs,
    unbiased_participation,
    update,
    utility,
)
from theorysim.feature_map.spectrum import unbiased_squares
from theorysim.numerics.symmetric import eigh, pseudo_inverse

TARGETS = jnp.stack([F[:, 0] ** 2, F[:, 1] + 0.1 * F[:, 2]], axis=1)


def projection(columns):
    """Onto the span of the columns, by SVD."""
    left, s, _ = np.linalg.svd(np.asarray(columns), full_matrices=False)
    left = left[:, s > 1e-9 * s[0]]
    return left @ left.T


def brute_force(x, z, outputs, centred, classes):
    """Eigenvalues, quality and utility from the operator T on functions over the n inputs."""
    x, z, outputs = (np.asarray(a) for a in (x, z, outputs))
    if centred:
        x, z, outputs = x - x.mean(0), z - z.mean(0), outputs - outputs.mean(0)
        outputs = outputs - outputs.mean(1, keepdims=True) if classes else outputs
    values, e = np.linalg.eigh(x @ x.T / len(x))
    values, e = values[::-1], e[:, ::-1]
    kept = values > 1e-12 * values[0]
    shares = [np.where(kept, np.einsum("ik,ij,jk->k", e, projection(y), e), 0) for y in (z, outputs)]
    return np.where(kept, values, 0), *shares


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("data", ["tall", "wide", "targets"])
def test_equals_the_operator_on_functions(data, centred):
    x, labels, w = (WIDE, WIDE_LABELS, WIDE_READOUT) if data == "wide" else (F, LABELS, READOUT)
    labels, z = (TARGETS, TARGETS) if data == "targets" else (labels, jax.nn.one_hot(labels, 3))
    outputs = x @ w.T
    values, matched, used = brute_force(x, z, outputs, centred, classes=data != "targets")
    for readout, given in ((w, None), (None, outputs + 3.0 if centred else outputs)):
        numbers = feature_metrics(x, labels, centred=centred, readout=readout, outputs=given)
        m = min(len(x), x.shape[1])
        np.testing.assert_allclose(numbers.eigenvalues[:m], values[:m], atol=1e-12)
        np.testing.assert_allclose(numbers.quality[:m], matched[:m], atol=1e-9)
        np.testing.assert_allclose(some(numbers.utility)[:m], used[:m], atol=1e-9)
        assert not numbers.eigenvalues[m:].any() and not numbers.quality[m:].any()
    law = moments(x, labels, centred=centred)
    np.testing.assert_allclose(eigenfunctions(law).values[:m], values[:m], atol=1e-12)
    np.testing.assert_allclose(quality(law)[:m], matched[:m], atol=1e-9)
    np.testing.assert_allclose(utility(law, w)[:m], used[:m], atol=1e-9)


def test_eigenfunctions_are_orthonormal_and_diagonalise_the_operator():
    law = eigenfunctions(moments(F, LABELS))
    x = F - F.mean(0, keepdims=True)
    e = x @ law.vectors / jnp.sqrt(law.values)[None]
    np.testing.assert_allclose(e.T @ e / 20, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(x @ (x.T @ e) / 20, e * law.values[None], atol=1e-12)


@pytest.mark.parametrize("labels", [LABELS, TARGETS], ids=["classes", "targets"])
@pytest.mark.parametrize("centred", [True, False])
def test_blocks_and_streams_give_what_one_pass_gives(labels, centred):
    x = F + 100.0
    classes = None if labels is TARGETS else 3
    whole = moments(x, labels, centred=centred, classes=classes)
    blocks = moments(x, labels, centred=centred, classes=classes, block=7)
    stream = moments(x[:2], labels[:2], centred=centred, classes=classes)
    for start, end in ((2, 3), (3, 14), (14, 20)):
        stream = update(stream, x[start:end], labels[start:end])
    for other in (blocks, stream):
        for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_stream_of_float32_keeps_its_digits():
    """A hundred blocks in float32: the error against float64 stays near rounding, also far from 0."""
    draw = np.random.default_rng(0)
    x = jnp.asarray(draw.normal(size=(6400, 4)) + 30)
    labels = jnp.arange(6400) % 3
    exact = moments(x, labels).second_moment
    narrow = moments(x.astype(jnp.float32), labels, block=64).second_moment
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, exact, atol=4e-6)
    wide = moments(x.astype(jnp.float32), labels, block=64, dtype=jnp.float64).second_moment
    assert wide.dtype == jnp.float64 and jnp.abs(wide - exact).max() < 1e-6


def test_nothing_depends_on_the_basis_the_order_or_the_scale():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    order = np.random.default_rng(1).permutation(20)
    law = feature_metrics(F, LABELS, readout=READOUT)
    others = [
        feature_metrics(F @ turn, LABELS, readout=READOUT @ turn),
        feature_metrics(F[order], LABELS[order], readout=READOUT),
        feature_metrics(F + 7.0, LABELS, readout=READOUT + jnp.ones((1, 5))),
        feature_metrics(F, (LABELS + 1) % 3, readout=READOUT),
    ]
    for other in others:
        np.testing.assert_allclose(other.eigenvalues, law.eigenvalues, atol=1e-12)
        np.testing.assert_allclose(other.quality, law.quality, atol=1e-9)
        np.testing.assert_allclose(some(other.utility), some(law.utility), atol=1e-9)
    scaled = feature_metrics(3 * F, LABELS, readout=READOUT)
    np.testing.assert_allclose(scaled.eigenvalues, 9 * law.eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(some(scaled.utility), some(law.utility), atol=1e-9)


def test_sums_have_their_identities():
    law = moments(F, LABELS)
    rho, Q = eigenfunctions(law).values, quality(law)
    x = F - F.mean(0, keepdims=True)
    within = sum(((x[LABELS == c] - x[LABELS == c].mean(0, keepdims=True)) ** 2).sum() for c in range(3)) / 20
    np.testing.assert_allclose((rho * (1 - Q)).sum(), within, rtol=1e-12)
    np.testing.assert_allclose(utility(law, READOUT).sum(), 2, rtol=1e-12)
    energy = energy_share(law, READOUT)
    outputs = x @ (READOUT - READOUT.mean(0, keepdims=True)).T
    first = x @ eigenfunctions(law).vectors[:, 0] / jnp.sqrt(rho[0])
    np.testing.assert_allclose(energy[0], ((first @ outputs / 20) ** 2).sum() / (outputs**2).sum() * 20)
    np.testing.assert_allclose(energy[-1], 1)


def test_effective_numbers_lie_between_one_and_all():
    np.testing.assert_allclose(effective_numbers(jnp.ones(7)), 7, rtol=1e-12)
    np.testing.assert_allclose(effective_numbers(jnp.eye(1, 7)[0]), 1, rtol=1e-12)
    entropy, participation = effective_numbers(jnp.arange(7.0))
    assert 1 < participation < entropy < 7


def test_quality_of_permuted_labels_has_the_exact_mean():
    """Over all 90 assignments of three classes of two: (C - 1)/(n - 1) for every eigenfunction."""
    x = F[:6, :4]
    assignments = sorted(set(permutations([0, 0, 1, 1, 2, 2])))
    law = jax.vmap(lambda labels: quality(moments(x, labels, classes=3)))(jnp.array(assignments))
    np.testing.assert_allclose(law.mean(0), 2 / 5, rtol=1e-10)
    np.testing.assert_allclose(adjusted_quality(law.mean(0), classes=3, n=6), 0, atol=1e-10)


@pytest.mark.parametrize("centred", [True, False])
def test_squares_are_unbiased(centred):
    """Over all samples of four from three points with unequal probabilities."""
    points = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, -1.1]])
    p = np.array([0.2, 0.5, 0.3])
    mean = p @ points if centred else np.zeros(2)
    sigma = ((points - mean).T * p) @ (points - mean)
    samples = np.array(list(product(range(3), repeat=4)))
    estimates = jax.vmap(lambda s: jnp.stack(unbiased_squares(jnp.asarray(points)[s], centred=centred)))(
        samples
    )
    expected = np.trace(sigma) ** 2, (sigma**2).sum()
    np.testing.assert_allclose(p[samples].prod(1) @ np.asarray(estimates), expected, rtol=1e-12)


def test_unbiased_participation_sees_more_features_than_examples():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(60, 400)))
    plain = effective_numbers(moments(x.T, jnp.arange(400) % 2).second_moment.diagonal())
    assert plain.participation < 61
    np.testing.assert_allclose(unbiased_participation(x), 400, rtol=0.1)


def test_held_out_is_the_training_law_on_the_training_inputs():
    law = moments(F, LABELS)
    own = held_out(law, law, READOUT)
    np.testing.assert_allclose(own.quality, quality(law)[:2], atol=1e-10)
    used = utility(law, READOUT)
    np.testing.assert_allclose(some(own.cumulative_utility), cumulative(used, rank=2.0)[1], atol=1e-10)


def test_held_out_eigenfunctions_are_the_span_of_the_training_ones():
    """All of them: the held-out law itself. Two of them: projections of functions over the new inputs."""
    train = moments(F, LABELS)
    x, labels, _ = gaussian_classes(0, 25, 5)
    test = moments(x, labels)
    everything = held_out(train, test, READOUT, top=5)
    np.testing.assert_allclose(everything.quality, quality(test), atol=1e-9)
    np.testing.assert_allclose(some(everything.utility), utility(test, READOUT), atol=1e-9)
    two = held_out(train, test, READOUT)
    x = x - x.mean(0, keepdims=True)
    span = projection(x @ eigenfunctions(train).vectors[:, :2])
    z = jax.nn.one_hot(labels, 3)
    outputs = x @ (READOUT - READOUT.mean(0, keepdims=True)).T
    matched = np.trace(span @ projection(z - z.mean(0, keepdims=True))) / 2
    np.testing.assert_allclose(two.cumulative_quality, matched, atol=1e-10)
    np.testing.assert_allclose(
        some(two.cumulative_utility), np.trace(span @ projection(outputs)) / 2, atol=1e-10
    )


def test_leading_features_are_those_of_the_whole_and_their_residuals_bound_the_error():
    x, labels, w = gaussian_classes(1, 60, 80)
    whole = feature_metrics(x, labels, readout=w)
    key = jax.random.key(0)
    law = leading_features(x, labels, w, top=2, key=key, iterations=6, oversample=6)
    np.testing.assert_allclose(law.eigenvalues, whole.eigenvalues[:2], rtol=1e-9)
    np.testing.assert_allclose(law.quality, whole.quality[:2], rtol=1e-6)
    np.testing.assert_allclose(some(law.utility), some(whole.utility)[:2], rtol=1e-6)
    rough = leading_features(x, labels, w, top=3, key=key, iterations=1, oversample=0)
    distance = jnp.abs(rough.eigenvalues[:, None] - whole.eigenvalues[None]).min(1)
    assert (distance <= rough.residuals).all() and (rough.eigenvalues < whole.eigenvalues[:3]).all()
    assert rough.residuals.max() > 1e-3


def test_truncated_outputs_are_the_outputs_in_the_end():
    law = moments(F, LABELS)
    outputs = F @ READOUT.T
    np.testing.assert_allclose(truncated_outputs(F, law, READOUT, top=5), outputs, atol=1e-12)
    e = (F - F.mean(0, keepdims=True)) @ eigenfunctions(law).vectors[:, :2]
    span = projection(e)
    two = truncated_outputs(F, law, READOUT, top=2)
    about = outputs - outputs.mean(0, keepdims=True)
    np.testing.assert_allclose(two, span @ about + outputs.mean(0, keepdims=True), atol=1e-12)


def test_kernel_features_have_the_kernel():
    gram = WIDE @ WIDE.T
    features = kernel_features(gram)
    np.testing.assert_allclose(features @ features.T, gram, atol=1e-10)
    law, same = (feature_metrics(x, WIDE_LABELS, outputs=WIDE[:, :3]) for x in (WIDE, features))
    np.testing.assert_allclose(same.quality, law.quality[:12], atol=1e-9)
    np.testing.assert_allclose(some(same.utility), some(law.utility)[:12], atol=1e-9)


def test_derivatives_are_exact_inside_a_degenerate_block():
    """Sums over a block of equal eigenvalues, and functions of the matrix, are smooth there."""
    M = jnp.diag(jnp.array([3.0, 3.0, 1.0]))
    A = jnp.array([[0.3, 0.8, 0.1], [0.8, -0.5, 0.7], [0.1, 0.7, 0.2]])

    def overlap(t):
        V = eigh(M + t * A)[1][:, :2]
        return ((V.T @ A) * V.T).sum()

    h = 1e-4
    slope = (overlap(h) - overlap(-h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(overlap)(0.0), slope, rtol=1e-6)
    singular = jnp.diag(jnp.array([2.0, 2.0, 0.0]))
    turn = jnp.array([[0.0, 0.1, 0.3], [-0.1, 0.0, 0.2], [-0.3, -0.2, 0.0]])

    def inverse(t):
        rotation = jax.scipy.linalg.expm(t * turn)
        return pseudo_inverse(rotation @ (singular + t * jnp.diag(jnp.array([1.0, 0.5, 0.0]))) @ rotation.T)

    slopes = jax.jvp(inverse, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slopes, (inverse(h) - inverse(-h)) / (2 * h), atol=1e-7)


def test_nested_batches_are_serial_and_right():
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 20, 4)))
    law = jax.jit(jax.vmap(jax.vmap(lambda x: quality(moments(x, LABELS, classes=3)))))(batch)
    np.testing.assert_allclose(law[1, 2], quality(moments(batch[1, 2], LABELS)), atol=1e-12)


def test_whole_numbers_and_other_labels_are_cast_and_coded_with_a_warning():
    with pytest.warns(UserWarning, match="features are int64 and were cast"):
        cast = moments(jnp.round(10 * F).astype(int), LABELS)
    np.testing.assert_allclose(cast.second_moment, moments(jnp.round(10 * F), LABELS).second_moment)
    with pytest.warns(UserWarning, match="labels 2, 5, 8 were coded as 0 ... 2"):
        coded = moments(F, 3 * LABELS + 2)
    np.testing.assert_allclose(some(coded.class_means), some(moments(F, LABELS).class_means))


@pytest.mark.parametrize(
    ("call", "culprit"),
    [
        (lambda law: update(law, F[:, 1:], LABELS), "features"),
        (lambda law: update(law, F, LABELS + 1), "labels"),
        (lambda law: update(law, F, TARGETS), "labels"),
        (lambda law: update(moments(F, TARGETS), F, LABELS), "labels"),
        (lambda law: quality(moments(F, LABELS, classes=4)), "class 3"),
        (lambda law: jax.jit(lambda y: moments(F, y).count)(LABELS), "classes"),
        (lambda law: held_out(law, moments(F[:, 1:], LABELS)), "test"),
        (lambda law: held_out(law, moments(F, LABELS, centred=False)), "test"),
        (lambda law: held_out(law, law, top=6), "top"),
        (lambda law: truncated_outputs(F, law, READOUT, top=0), "top"),
        (lambda law: truncated_outputs(F[:, 1:], law, READOUT, top=1), "features"),
        (lambda law: leading_features(F, LABELS, top=6, key=jax.random.key(0)), "top"),
        (lambda law: kernel_features(-jnp.eye(2)), "gram"),
        (lambda law: feature_metrics(F, LABELS, outputs=F[:3]), "outputs"),
        (lambda law: feature_metrics(F, jax.nn.one_hot(LABELS, 3)), "labels"),
        (lambda law: quality(moments(F[:2], TARGETS[:2])), "labels"),
        (lambda law: moments(jnp.zeros((20, 2)), LABELS, centred=False), "features"),
    ],
)
def test_bad_input_is_named(call, culprit):
    with pytest.raises(ValueError, match=rf"\b{culprit}\b"):
        call(moments(F, LABELS))
