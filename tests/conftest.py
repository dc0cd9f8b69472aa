"""Every test runs in float64, with implicit rank promotion forbidden, one compilation cache for all."""

from pathlib import Path

import jax

CACHE = Path(__file__).parent.parent / ".cache" / "xla"

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
