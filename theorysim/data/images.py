"""Images of handwritten digits, as rows of grey values in [0, 1].

Example:
    >>> small, large = digits(), mnist()
    >>> small.x.shape, large.x.shape
    ((1797, 64), (10000, 784))
"""

import math

import numpy as np
from jaxtyping import UInt8

from theorysim.data._files import unpacked
from theorysim.data.labelled import Labelled

__all__ = ["digits", "mnist"]


def digits() -> Labelled:
    """Digits of 8 x 8 pixels: 1,797 samples of 64 features, ten classes of 174 to 183.

    Origin: the test part of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits* (UCI
    Machine Learning Repository, 1998), as scikit-learn ships it; licence: CC BY 4.0. A pixel counts the dark
    ones among 4 x 4 of the scan, 0 to 16; it is divided by 16, and nothing else is done. 13 people wrote
    them. Rows of pixels follow each other.

    Returns:
        Labelled: x (1797, 64) in [0, 1], 0 is white; y (1797,) in 0, ..., 9.

    Example:
        >>> data = digits()
        >>> data.x.min().item(), data.x.max().item(), data.y[:5].tolist()
        (0.0, 1.0, [0, 1, 2, 3, 4])
    """
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    return Labelled(np.asarray(raw, np.float64) / 16, np.asarray(labels, np.int64))


def mnist() -> Labelled:
    """Digits of 28 x 28 pixels: the 10,000 test images of MNIST, ten classes of 892 to 1,135.

    Origin: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, *Gradient-based learning applied to document
    recognition*, Proceedings of the IEEE 86 (1998); the two IDX files of the test set are carried in the
    package unchanged. Licence: CC BY-SA 3.0. Grey values 0 to 255 are divided by 255, and nothing else is
    done. The first 5,000 images were written by other people than the last 5,000, and are the easier half:
    shuffle before splitting. Rows of pixels follow each other.

    Returns:
        Labelled: x (10000, 784) in [0, 1], 0 is background; y (10000,) in 0, ..., 9. 63 MB.

    Example:
        >>> data = mnist()
        >>> data.x.shape, data.y[:5].tolist()
        ((10000, 784), [7, 2, 1, 0, 4])
    """
    images = _idx(unpacked("t10k-images-idx3-ubyte.gz"), "images", axes=3)
    labels = _idx(unpacked("t10k-labels-idx1-ubyte.gz"), "labels", axes=1)
    return Labelled(images.reshape(len(images), -1) / 255, labels.astype(np.int64))


def _idx(content: bytes, name: str, *, axes: int) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes: magic number 0x000008DD for DD axes, sizes, entries."""
    magic = bytes((0, 0, 8, axes))
    if content[:4] != magic:
        raise ValueError(
            f"{name} must be an IDX file with magic number {magic.hex()}, got {content[:4].hex()}"
        )
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{name} must hold {math.prod(shape)} bytes for shape {shape}, got {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
