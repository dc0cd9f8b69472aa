"""Files appear whole or not at all, and come back as they were."""

import numpy as np
import pytest
import xarray as xr

from theorysim.lab import figures, outputs
from theorysim.lab.errors import UsageError


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "big": (("x", "y"), rng.normal(size=(200, 100)), {"units": "nats"}),
            "small": ("x", np.arange(200)),
            "flags": ("x", np.arange(200) % 2 == 0),
            "single": 3.0,
        },
        coords={"x": np.linspace(0, 1, 200), "kind": ("y", [f"k{i}" for i in range(100)])},
        attrs={"diverged": 3, "batch": [1, 2], "none": None, "nested": {"a": 1.5}, "flag": True},
    )


def test_data_sets_come_back_bit_for_bit(tmp_path, dataset):
    path = tmp_path / "sub" / "data.nc"
    outputs.save_dataset(path, dataset, {"seconds": 1.5})
    back = outputs.load_dataset(path)
    xr.testing.assert_equal(back, dataset)
    assert back.big.dtype == np.float64 and back.flags.dtype == bool and back.small.dtype == np.int64
    assert back.big.attrs == {"units": "nats"}
    assert back.attrs["diverged"] == 3 and back.attrs["nested"] == '{"a": 1.5}'
    assert outputs.stored_record(path) == {"seconds": 1.5}
    assert dataset.attrs["none"] is None, "the caller's data set is left alone"


def test_big_arrays_are_compressed(tmp_path):
    zeros = xr.Dataset({"x": ("i", np.zeros(1_000_000))})
    outputs.save_dataset(tmp_path / "zeros.nc", zeros, {})
    assert (tmp_path / "zeros.nc").stat().st_size < 100_000


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damaged_data_sets_are_noticed(tmp_path, dataset, damage):
    path = tmp_path / "data.nc"
    outputs.save_dataset(path, dataset, {"seconds": 1.5})
    content = bytearray(path.read_bytes())
    if damage == "flip":
        start = content.find(dataset.small.values[100:].tobytes())
        assert start > 0, "the small array is stored as it is"
        content[start] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(damage, content))
    with pytest.raises((OSError, ValueError)):
        outputs.load_dataset(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "note.json"
    outputs.write_json(path, {"a": 1})

    def fail():
        with outputs.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        fail()
    assert outputs.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]


def test_bad_json_is_told_in_one_line(tmp_path):
    (tmp_path / "claims.json").write_text("{")
    with pytest.raises(UsageError, match=r"claims.json must be a readable JSON file of a run"):
        outputs.read_json(tmp_path / "claims.json")


def test_unusable_folders_are_refused_before_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="must be a folder, got the file"):
        outputs.check_writable(tmp_path / "file")
    with pytest.raises(UsageError, match="which lies below the file"):
        outputs.check_writable(tmp_path / "file" / "below")
    outputs.check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    def draw(stem):
        figure, axes = figures.new_figure(cols=2)
        figures.theory_line(axes[0], [1, 2], [3.0, 4.0], label="theory")
        figures.measured_points(axes[1], [1, 2], [3.0, 4.0], [0.1, 0.2], label="simulation")
        axes[0].legend()
        axes[1].set(xlabel=r"$\sqrt{n}$", ylabel="x", yscale="log")
        figures.save(figure, tmp_path / f"{stem}.png", tmp_path / f"{stem}.svg")
        return [(tmp_path / f"{stem}{suffix}").read_bytes() for suffix in (".png", ".svg")]

    assert draw("one") == draw("two")


def test_bars_span_the_95_percent_interval():
    _, ax = figures.new_figure()
    figures.measured_points(ax, [1.0], [5.0], [2.0])
    low, high = ax.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((5 - 1.959964 * 2, 5 + 1.959964 * 2))
