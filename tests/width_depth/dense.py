"""Residual networks with their weight matrices: what the samplers must agree with."""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.jit, static_argnums=(2, 4, 5))
def dense_kernels(key, inputs, n, alpha2, f, num):
    """q of all layers (num, L + 1, k, k), the NTK by autodiff (num, k, k), and g_0, of dense networks.

    `inputs` (k, d) enter through W_in of entries N(0, 1/d).
    """
    k, d = inputs.shape

    def network(key):
        keys = jax.random.split(key, 3)
        weights = (
            jax.random.normal(keys[0], (n, d)),
            jax.random.normal(keys[1], (len(alpha2), n, n)),
            jax.random.normal(keys[2], (n,)),
        )

        def layers(Y0, hidden):
            def layer(Y, step):
                alpha2, W = step
                Y = Y + jnp.sqrt(alpha2 / n) * W @ f(Y)
                return Y, Y

            return jax.lax.scan(layer, Y0, (alpha2, hidden))[1]

        def output(weights, x):
            first, hidden, last = weights
            Y0 = first @ x / jnp.sqrt(d)
            return last @ jnp.concatenate([Y0[None], layers(Y0, hidden)])[-1] / jnp.sqrt(n)

        def states(x):
            Y0 = weights[0] @ x / jnp.sqrt(d)
            return jnp.concatenate([Y0[None], layers(Y0, weights[1])])

        Y = jax.vmap(states)(inputs)
        jacobian = jax.vmap(jax.grad(output), (None, 0))(weights, inputs)
        flat = jnp.concatenate([leaf.reshape(k, -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
        # df/dY_0 = df/dW_in applied to any direction that x/sqrt(d) has length one along.
        to_first = jnp.einsum("knd,kd->kn", jacobian[0], inputs) / (inputs**2).sum(1)[:, None] * jnp.sqrt(d)
        return jnp.einsum("aln,bln->lab", Y, Y) / n, flat @ flat.T, to_first @ to_first.T

    return jax.lax.map(network, jax.random.split(key, num), batch_size=500)
