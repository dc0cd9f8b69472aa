r"""Scikit-learn estimators: regression and classification by infinitely wide residual networks.

Targets Y of C columns are b + f + noise, where f is the Gaussian process with the kernel signal k of the
network (its NNGP, or its tangent kernel) and the offset b of each column has a flat prior, since a network
without biases knows no constant. With K = signal k(X, X) + noise I, k_x = signal k(X, x) and h = K^-1 1,

    b = h'Y / h'1,     mean = b + k_x'K^-1 (Y - b),
    variance = signal k(x, x) - k_x'K^-1 k_x + (1 - h'k_x)^2 / h'1,
    log marginal likelihood = -[tr((Y-b)'K^-1(Y-b)) + C (log det K + log h'1 + (N-1) log 2 pi)] / 2.

C. E. Rasmussen, C. K. I. Williams (2006), "Gaussian Processes for Machine Learning", section 2.7. With the
NNGP this is the posterior of the Bayesian network. With the tangent kernel the mean is, as the noise goes to
0 and but for the offset, that of networks trained on all layers by gradient descent; the variance is that of
the process, not of such networks. Depth is a number of layers with alpha_l^2 = tau / depth, or infinity, the
limit of them all. Inputs meet no bias: scale them to mean squares of order one. Everything is computed in
float64. Cost O(N^2 d + N^3) to fit; O(N d) for the mean at an input and O(N^2) for its deviation; O(N^3 + q
C^2) a call of `predict_proba` at q inputs; whatever the depth if the activation is homogeneous. Memory O(N^2)
to fit, O(N^2 + q N) for the rest.

Example:
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = np.abs(X[:, 0]) - X[:, 1]
    >>> model = InfiniteResNetRegressor(noise=1e-3).fit(X[:150], y[:150])
    >>> print(f"R^2 = {model.score(X[150:], y[150:]):.3f}")
    R^2 = 1.000
"""

import math
import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from theorysim.numerics.gaussian import checked_activation
from theorysim.numerics.validation import choice, positive_int, real, scalar
from theorysim.width_depth.grams import kernels
from theorysim.width_depth.limit import depth_limit
from theorysim.width_depth.recursion import pair_kernels

__all__ = ["InfiniteResNetClassifier", "InfiniteResNetRegressor"]

# Where tau, signal and noise are searched for the largest marginal likelihood; variances grow like exp tau.
_BOUNDS = {"tau": (1e-4, 30.0), "signal": (1e-4, 1e4), "noise": (1e-6, 1e4)}
_SEARCH = {"ftol": 1e-12, "gtol": 1e-6}
# The loss where rounding has made K indefinite: worse than anywhere else.
_INDEFINITE = 1e6
_HERMITE_NODES = 60
# Numbers that `predict_proba` holds of a block of inputs, beside their kernel.
_BLOCK = 2**20


class _InfiniteResNet(BaseEstimator):
    """What regressor and classifier share."""

    def __init__(
        self,
        depth: Any = math.inf,
        activation: Any = "relu",
        kernel: Any = "nngp",
        tau: Any = 1.0,
        noise: Any = 1e-2,
        signal: Any = 1.0,
        optimize: Any = False,
    ):
        # Of any type: scikit-learn wants errors from `fit` alone.
        self.depth = depth
        self.activation = activation
        self.kernel = kernel
        self.tau = tau
        self.noise = noise
        self.signal = signal
        self.optimize = optimize

    def _start(self):
        """The parameters, checked."""
        if not (isinstance(self.depth, float) and math.isinf(self.depth) and self.depth > 0):
            positive_int(self.depth, "depth", minimum=0)
        checked_activation(self.activation, "activation")
        choice(self.kernel, "kernel", ("nngp", "ntk"))
        for name, (low, high) in _BOUNDS.items():
            value = scalar(getattr(self, name), name)
            if self.optimize:
                real(value, name, low=low, high=high)
            else:
                real(value, name, low=0, low_open=name == "signal", high_open=True)
        return float(self.tau), float(self.signal), float(self.noise)

    def _fit_targets(self, X, Y):
        """Everything after validation: Y is (N, C) of floats."""
        self.tau_, self.signal_, self.noise_ = self._start()
        self.X_train_, self._targets = X, Y
        if self.optimize:
            self._maximise_likelihood()
        K = self.signal_ * self._gram(X) + self.noise_ * np.eye(len(X))
        try:
            self._factor = cho_factor(K, lower=True, overwrite_a=True)
        except LinAlgError:
            raise self._singular() from None
        self._ones = cho_solve(self._factor, np.ones(len(X)))
        self.offset_ = self._ones @ Y / self._ones.sum()
        self.dual_coef_ = cho_solve(self._factor, Y - self.offset_)
        return self

    def _singular(self):
        return ValueError(
            f"noise must be large enough to make the kernel matrix of {len(self.X_train_)} inputs positive "
            f"definite, got {self.noise_:g}"
        )

    def _maximise_likelihood(self):
        def loss(theta):
            # By target: the first step of the search is as long as the gradient.
            value, gradient = (part / self._targets.size for part in self._likelihood(theta))
            return (-value, -gradient) if np.isfinite(value) else (_INDEFINITE, np.zeros_like(theta))

        start, bounds = np.log([self.tau_, self.signal_, self.noise_]), np.log(list(_BOUNDS.values()))
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_SEARCH)
        if found.fun >= _INDEFINITE:
            raise self._singular()
        if not found.success:
            warnings.warn(
                f"the search for the largest marginal likelihood did not converge in {found.nit} steps "
                f"({found.message}): scale the data to variances of order one, or start elsewhere",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.tau_, self.signal_, self.noise_ = np.exp(found.x).tolist()

    def _likelihood(self, theta):
        with jax.enable_x64(True):
            arrays = (jnp.asarray(v, jnp.float64) for v in (theta, self.X_train_, self._targets))
            value, gradient = _value_and_gradient(*arrays, self.depth, self.activation, self.kernel)
        return float(value), np.asarray(gradient)

    def log_marginal_likelihood(self, theta: Any = None, eval_gradient: bool = False) -> Any:
        """Log marginal likelihood of the training targets, summed over their columns.

        Args:
            theta: logarithms of (tau, signal, noise); by default the fitted ones.
            eval_gradient: whether to return the gradient in theta as well.

        Returns:
            A float, or (float, array of 3); NaN where the kernel matrix overflows or is, to rounding, not
            positive definite. O(N^3).
        """
        check_is_fitted(self)
        if theta is None:
            theta = np.log([self.tau_, self.signal_, self.noise_])
        theta = np.asarray(real(theta, "theta", low_open=True, high_open=True), float)
        if theta.shape != (3,):
            raise ValueError(f"theta must hold log tau, log signal and log noise, got shape {theta.shape}")
        value, gradient = self._likelihood(theta)
        return (value, gradient) if eval_gradient else value

    def _gram(self, X, other=None):
        """Kernel between the rows of X and those of `other` (X)."""
        return self._finite(X, _kernel, X, other)

    def _finite(self, X, kernel, *inputs):
        """The kernel function's values at what follows from X, as float64, or ValueError if they overflow."""
        try:
            with jax.enable_x64(True):
                found = kernel(*inputs, self.tau_, self.depth, self.activation, self.kernel)
                found = np.asarray(found, np.float64)
        except jax.errors.JaxRuntimeError as error:
            # An equation whose solution grows beyond all bounds.
            if "solver steps" not in str(error):
                raise
            found = np.array(np.nan)
        if not np.isfinite(found).all():
            raise ValueError(
                f"tau and X must be so small that the kernel does not overflow, got tau = {self.tau_:g} and "
                f"entries of X up to {np.abs(X).max():g}"
            )
        return found

    def _latent(self, X, *, spread):
        """Mean (q, C) and standard deviation (q,) of the process at new inputs."""
        cross = self.signal_ * self._gram(X, self.X_train_)
        mean = cross @ self.dual_coef_ + self.offset_
        if not spread:
            return mean, None
        prior = self._finite(X, _diagonal, (X**2).mean(1))
        half = solve_triangular(self._factor[0], cross.T, lower=True)
        # What is certain may come out negative by rounding.
        process = np.maximum(self.signal_ * prior - (half**2).sum(0), 0)
        return mean, np.sqrt(process + (1 - cross @ self._ones) ** 2 / self._ones.sum())

    def _new(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64)


class InfiniteResNetRegressor(RegressorMixin, _InfiniteResNet):
    """Gaussian-process regression with the kernel of an infinitely wide residual network.

    Args:
        depth: number of layers, >= 0, or `math.inf`.
        activation: a name of `numerics.gaussian`, the slope of a leaky rectifier, or a smooth function.
        kernel: "nngp" or "ntk".
        tau: sum of the squared branch scales, >= 0.
        noise: variance of the noise on the targets, >= 0.
        signal: variance of the readout's weights, > 0.
        optimize: whether `fit` replaces tau, signal and noise by those of the largest marginal likelihood
            (a local maximum with tau in [1e-4, 30], signal in [1e-4, 1e4] and noise in [1e-6, 1e4], from the
            given ones, which must lie there; scikit-learn's ConvergenceWarning if the search fails).

    Attributes:
        tau_, signal_, noise_: what was used.
        offset_: b of each column, (C,).
        dual_coef_: K^-1 (y - b), (N, C).
        X_train_: the training inputs.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> y = np.abs(X[:, 0])
        >>> model = InfiniteResNetRegressor(depth=10, noise=1e-4, optimize=True).fit(X, y)
        >>> mean, std = model.predict(np.array([[0.5]]), return_std=True)
        >>> print(f"{mean[0]:.2f}")
        0.50
    """

    def fit(self, X: Any, y: Any) -> "InfiniteResNetRegressor":
        """Fit to inputs (N, d) and targets (N,) or (N, C).

        Raises:
            ValueError: a parameter out of its range, data that are not finite numbers of these shapes, a
                kernel that overflows, or a kernel matrix that is singular to rounding without more noise.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, copy=True, multi_output=True, y_numeric=True)
        y = np.array(y, np.float64)
        self._one_column = y.ndim == 1
        return self._fit_targets(X, y.reshape(len(y), -1))

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Posterior mean at new inputs (q, d), and its standard deviation (q,), noise not included.

        Args:
            X: inputs.
            return_std: whether to return the standard deviation as well, of every column alike.
        """
        mean, std = self._latent(self._new(X), spread=return_std)
        mean = mean[:, 0] if self._one_column else mean
        return (mean, std) if return_std else mean

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class InfiniteResNetClassifier(ClassifierMixin, _InfiniteResNet):
    """Classification by regression on one-hot targets with the kernel of an infinitely wide residual network.

    The arguments are those of `InfiniteResNetRegressor`. The predicted class has the largest posterior mean.

    Attributes:
        classes_: the labels, sorted.

    Example:
        >>> from theorysim.data import digits
        >>> data = digits()
        >>> model = InfiniteResNetClassifier(noise=1e-4).fit(data.x[:300], data.y[:300])
        >>> print(f"{model.score(data.x[300:], data.y[300:]):.2f}")
        0.90
    """

    def fit(self, X: Any, y: Any) -> "InfiniteResNetClassifier":
        """Fit to inputs (N, d) and labels (N,) of at least two classes.

        Raises:
            ValueError: a parameter out of its range, bad data, or labels of one class.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, copy=True)
        check_classification_targets(y)
        self.classes_, index = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {self.classes_[0]!r}")
        return self._fit_targets(X, np.eye(len(self.classes_))[index])

    def decision_function(self, X: Any) -> np.ndarray:
        """Posterior means (q, C); for two classes the difference of the second and the first, (q,)."""
        mean, _ = self._latent(self._new(X), spread=False)
        return mean[:, 1] - mean[:, 0] if len(self.classes_) == 2 else mean

    def predict(self, X: Any) -> np.ndarray:
        """The class of each input, (q,)."""
        mean, _ = self._latent(self._new(X), spread=False)
        return self.classes_[mean.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability that a class has the largest target, (q, C), were the targets independent and normal.

        Their standard deviation is the root-mean-square error of the training targets, each predicted from
        all others: one number, so that the order of the inputs is that of `decision_function`. It costs
        O(N^3) a call, the rest O(q (N + C^2)); memory O(N^2 + q N), and 2^20 numbers (or 60 C) for a block of
        inputs.
        """
        mean, _ = self._latent(self._new(X), spread=False)
        scores = mean / self._leave_one_out_error()
        rows = max(1, _BLOCK // (_HERMITE_NODES * scores.shape[1]))
        proba = np.concatenate([_largest(scores[i : i + rows]) for i in range(0, len(scores), rows)])
        return proba / proba.sum(1, keepdims=True)

    def _leave_one_out_error(self):
        inverse = solve_triangular(self._factor[0], np.eye(len(self._targets)), lower=True)
        # The diagonal of the inverse that leaves constants out.
        diagonal = (inverse**2).sum(0) - self._ones**2 / self._ones.sum()
        residuals = self.dual_coef_ / diagonal[:, None]
        return max(np.sqrt((residuals**2).mean()), np.finfo(float).tiny)


def _largest(scores):
    """Up to a factor, the probability of each column to be the largest of unit normals around the scores."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_HERMITE_NODES)
    below = np.ones((*scores.shape, _HERMITE_NODES))
    for other in range(scores.shape[1]):
        gaps = scores - scores[:, other, None]
        share = ndtr(gaps[..., None] + nodes)
        share[:, other] = 1
        below *= share
    return below @ weights


def _depth(depth, tau):
    """The arguments of `kernels` for uniform scales of sum tau."""
    if math.isinf(depth):
        return {"tau": tau}
    depth = int(depth)
    return {"alpha2": jnp.full(depth, 1.0) * tau / max(depth, 1)}


def _kernel(X, other, tau, depth, activation, kernel):
    X = jnp.asarray(X)
    other = None if other is None else jnp.asarray(other)
    scales: dict[str, Any] = {name: jnp.asarray(v, X.dtype) for name, v in _depth(depth, tau).items()}
    return getattr(kernels(X, other, phi=activation, get=kernel, **scales), kernel)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _diagonal(q, tau, depth, activation, kernel):
    """Kernel of every input with itself, from q = |x|^2 / d."""
    q0 = jnp.stack([q, q, q], axis=-1)
    if math.isinf(depth):
        found = depth_limit(q0, tau, activation, get=kernel)
    else:
        found = pair_kernels(q0, _depth(depth, tau)["alpha2"].astype(q.dtype), activation, get=kernel)
    return found.nngp[..., 0] if kernel == "nngp" else found.ntk


@partial(jax.jit, static_argnums=(3, 4, 5))
def _value_and_gradient(theta, X, Y, depth, activation, kernel):
    """Log marginal likelihood and its gradient in the logarithms of tau, signal and noise."""

    def likelihood(theta):
        tau, signal, noise = jnp.exp(theta)
        K = signal * _kernel(X, None, tau, depth, activation, kernel) + noise * jnp.eye(len(X))
        factor = jnp.linalg.cholesky(K)
        half = jax.scipy.linalg.solve_triangular(factor, Y, lower=True)
        ones = jax.scipy.linalg.solve_triangular(factor, jnp.ones(len(X)), lower=True)
        weight = ones @ ones
        # Whitened residuals from the offset of each column.
        residual = half - ones[:, None] * (ones @ half / weight)[None]
        log_det = 2 * jnp.log(jnp.diag(factor)).sum() + jnp.log(weight)
        size = log_det + (len(X) - 1) * math.log(2 * math.pi)
        return -((residual**2).sum() + Y.shape[1] * size) / 2

    return jax.value_and_grad(likelihood)(theta)
