"""Handwritten digits: the published files, their scale, and the check of the IDX format."""

import hashlib

import numpy as np
import pytest

from theorysim import data
from theorysim.data import images
from theorysim.data._files import unpacked


@pytest.fixture(scope="module")
def mnist():
    return data.mnist()


def test_digits_are_those_of_scikit_learn_in_the_unit_interval():
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    loaded = data.digits()
    assert loaded.x.dtype == np.float64 and loaded.y.dtype == np.int64
    np.testing.assert_array_equal(loaded.x * 16, raw)
    np.testing.assert_array_equal(loaded.y, labels)
    assert loaded.x.min() == 0 and loaded.x.max() == 1


def test_the_carried_files_are_the_published_ones():
    digests = {
        "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
    for name, digest in digests.items():
        assert hashlib.sha256(unpacked(name)).hexdigest() == digest


def test_mnist_has_its_shape_scale_and_labels(mnist):
    assert mnist.x.shape == (10_000, 784) and mnist.x.dtype == np.float64 and mnist.y.dtype == np.int64
    assert mnist.x.min() == 0 and mnist.x.max() == 1
    np.testing.assert_array_equal(mnist.x * 255, np.round(mnist.x * 255))
    assert mnist.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(mnist.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The mean and standard deviation of the pixels, as they are quoted for the test set.
    np.testing.assert_allclose([mnist.x.mean(), mnist.x.std()], [0.1325, 0.3105], atol=5e-5)


def test_pixels_and_labels_belong_together(mnist):
    centroids = np.stack([mnist.x[:8000][mnist.y[:8000] == c].mean(axis=0) for c in range(10)])
    distance = ((mnist.x[8000:, None] - centroids) ** 2).sum(axis=2)
    # Nearest mean is right for about 82 % of MNIST; chance is 10 %.
    assert (distance.argmin(axis=1) == mnist.y[8000:]).mean() > 0.8


def test_rows_of_pixels_follow_each_other(mnist):
    image = mnist.x[mnist.y == 1].mean(axis=0).reshape(28, 28)
    # A one is a stroke from top to bottom: narrow across, long down.
    across, down = image.sum(axis=0), image.sum(axis=1)
    assert (across > across.max() / 2).sum() < 8 < 16 < (down > down.max() / 2).sum()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels must be an IDX file with magic number 00000801, got $"),
        (bytes([0, 0, 8, 3]) + bytes(12), "magic number 00000801, got 00000803"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 0]), "magic number 00000801, got 00000d01"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 7]), r"labels must hold 3 bytes for shape \(3,\), got 2"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 1, 7, 7]), r"labels must hold 1 bytes for shape \(1,\), got 2"),
    ],
)
def test_files_that_are_no_idx_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        images._idx(content, "labels", axes=1)


def test_an_idx_file_is_read_in_its_order():
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(6)])
    assert images._idx(content, "images", axes=2).tolist() == [[0, 1, 2], [3, 4, 5]]
