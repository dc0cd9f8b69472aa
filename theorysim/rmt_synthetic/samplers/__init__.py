"""Monte Carlo of training on real plus synthetic data: the distribution that the theory is the limit of.

`sample_accuracy` and `sample_scores` draw classifiers for any problem; by default with a sampler that is
exact in law and costs O(p) a draw where the covariances are multiples of I. `sample_estimated_generator` and
`sample_reused_generator` fit the generator anew in every draw.

Example:
    >>> import jax
    >>> from theorysim.rmt_synthetic.problem import paper_means, real_plus_synthetic
    >>> mu, mu_s = paper_means(50, 1.5, beta=0.7, perp=1.0)
    >>> problem = real_plus_synthetic(100, 200, mu, mu_s, eps=0.3, rho=0.1, phi=0.8)
    >>> sample_accuracy(jax.random.key(0), 100, problem, gamma=0.1).shape
    (100,)
"""

from theorysim.rmt_synthetic.samplers.generators import sample_estimated_generator, sample_reused_generator
from theorysim.rmt_synthetic.samplers.scores import Method, sample_accuracy, sample_scores

__all__ = [
    "Method",
    "sample_accuracy",
    "sample_estimated_generator",
    "sample_reused_generator",
    "sample_scores",
]
