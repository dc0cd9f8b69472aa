"""What a run computes, keeps, judges and draws, and what it does when parts of it fail."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

from theorysim.lab.cli import main
from theorysim.lab.outputs import load_dataset, stored_record


def run(source, out, *flags: str) -> int:
    return main(["run", str(source), "--preset", "tiny", "--out", str(out), *flags])


def claims(folder) -> dict[str, dict]:
    return {item["name"]: item for item in json.loads((folder / "claims.json").read_text())}


def experiments(out) -> dict[str, dict]:
    record = json.loads((out / "results" / "coins" / "tiny" / "run.json").read_text())
    return {item["name"]: item for item in record["experiments"]}


def files(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_leaves_data_claims_figures_and_a_report(finished):
    results, gallery = finished / "results" / "coins" / "tiny", finished / "figures" / "coins"
    assert files(results) == {"shares.nc", "spread.nc", "claims.json", "run.json", "cells"}
    pictures = {f"{name}_against_bias{end}" for name in ("share", "variance") for end in (".png", ".svg")}
    assert files(gallery) == {"claims.json", "run.json"} | pictures
    assert files(finished / "figures") == {"coins", "index.html"}
    assert {name: item["status"] for name, item in claims(gallery).items()} == {
        "C1": "confirmed",
        "C2-printed": "refuted",
        "C3": "undecided",
    }
    data = load_dataset(results / "shares.nc")
    assert dict(data.sizes) == {"bias": 3, "replica": 64}
    assert data.attrs["diverged"] == 0


def test_the_record_says_how_it_was_computed(finished):
    record = json.loads((finished / "results" / "coins" / "tiny" / "run.json").read_text())
    assert record["x64"] is True and record["devices"] and record["command"]
    assert set(record["versions"]) >= {"python", "jax", "numpy", "theorysim"}
    assert all(item["seconds"] > 0 for item in record["experiments"])
    assert {item["name"]: item["value"] for item in record["config"]} == {
        "seed": 0,
        "tosses": 50,
        "replicas": 64,
        "biases": [0.2, 0.5, 0.7],
    }


def test_the_gallery_names_no_place_on_this_machine(variant, tmp_path):
    source = variant(("exact.value / cfg.tosses", "open(__file__ + '.no')"))
    assert run(source, tmp_path / "out") == 1
    public = "".join(
        path.read_text()
        for path in (tmp_path / "out" / "figures").rglob("*")
        if path.suffix in (".json", ".html")
    )
    assert "No such file" in public
    assert str(tmp_path) not in public and "Traceback" not in public


def test_finished_experiments_are_not_computed_again(copied, coins, capsys):
    before = {name: item["seconds"] for name, item in experiments(copied).items()}
    assert run(coins, copied) == 0
    assert "kept from an earlier run" in capsys.readouterr().out
    assert {name: item["status"] for name, item in experiments(copied).items()} == {
        "shares": "reused",
        "spread": "reused",
    }
    assert {name: item["seconds"] for name, item in experiments(copied).items()} == before


def test_fresh_computes_again_and_gives_the_same(copied, coins, finished):
    assert run(coins, copied, "--fresh") == 0
    assert {item["status"] for item in experiments(copied).values()} == {"done"}
    for name in ("shares", "spread"):
        file = f"results/coins/tiny/{name}.nc"
        xr.testing.assert_identical(
            load_dataset(copied / file).drop_attrs(), load_dataset(finished / file).drop_attrs()
        )


def test_a_changed_field_computes_again(copied, coins):
    assert run(coins, copied, "--seed", "1") == 0
    assert {item["status"] for item in experiments(copied).values()} == {"done"}


def test_an_edited_experiment_computes_again_and_its_finished_cells_are_used(copied, variant):
    cells = copied / "results" / "coins" / "tiny" / "cells" / "shares"
    before = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert run(variant(("return simulated.isel(tosses=0)", "return simulated.isel(tosses=-1)")), copied) == 0
    assert {item["status"] for item in experiments(copied).values()} == {"done"}
    assert {path.name: path.stat().st_mtime_ns for path in cells.iterdir()} == before


def test_a_damaged_data_set_is_computed_again(copied, coins):
    file = copied / "results" / "coins" / "tiny" / "shares.nc"
    file.write_bytes(file.read_bytes()[:1000])
    assert run(coins, copied) == 0
    assert [item["status"] for item in experiments(copied).values()] == ["done", "reused"]


def test_another_experiment_changes_no_other(variant, finished, tmp_path):
    extra = '@sim.experiment\ndef before(cfg, key, sweep):\n    return xr.Dataset({"x": 1})\n\n\n'
    source = variant(("@sim.experiment\ndef shares", f"{extra}@sim.experiment\ndef shares"))
    assert run(source, tmp_path / "out") == 0
    file = "results/coins/tiny/shares.nc"
    new, old = load_dataset(tmp_path / "out" / file), load_dataset(finished / file)
    xr.testing.assert_equal(new, old)


def test_only_runs_what_is_named_and_leaves_the_gallery(coins, tmp_path, capsys):
    assert run(coins, tmp_path, "--only", "spread") == 0
    results = tmp_path / "results" / "coins" / "tiny"
    assert not (results / "shares.nc").exists() and not (tmp_path / "figures").exists()
    assert claims(results)["C1"]["status"] == "undecided"
    assert claims(results)["C1"]["detail"] == "experiment shares was not run"
    assert claims(results)["C2-printed"]["status"] == "refuted"
    assert files(results / "figures") == {"variance_against_bias.png", "variance_against_bias.svg"}
    assert "coins was run in part" in capsys.readouterr().out
    assert run(coins, tmp_path, "--only", "shares") == 0, (
        "the other one is still valid: the whole is there now"
    )
    assert claims(tmp_path / "figures" / "coins")["C1"]["status"] == "confirmed"


def test_a_failed_experiment_stops_no_other(variant, tmp_path, capsys):
    source = variant(
        ("    simulated = sweep(", "    raise OverflowError('too\\nmany')\n    simulated = sweep(")
    )
    assert run(source, tmp_path / "out") == 1
    found = claims(tmp_path / "out" / "figures" / "coins")
    assert found["C1"]["status"] == "undecided"
    assert found["C1"]["detail"] == "experiment shares failed: OverflowError: too many"
    assert found["C2-printed"]["status"] == "refuted"
    assert "experiment coins.shares failed: OverflowError: too many" in capsys.readouterr().err
    assert "Traceback" in experiments(tmp_path / "out")["shares"]["trace"]
    page = (tmp_path / "out" / "figures" / "index.html").read_text()
    assert "Not drawn: experiment shares failed: OverflowError: too many" in page


def test_debug_shows_the_traceback(variant, tmp_path, capsys):
    source = variant(("    simulated = sweep(", "    raise OverflowError\n    simulated = sweep("))
    assert run(source, tmp_path / "out", "--debug") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("exact = data[", "exact = data.missing["), "claim coins C2-printed failed: AttributeError"),
        (
            ('data["spread"].variance.values\n', 'data["no"]\n'),
            "claim coins C2-printed failed: KeyError: \"data has shares, spread, got 'no'",
        ),
        (
            (", resolution=0.05)", ", resolution=0.05).status"),
            "claim coins C1 failed: TypeError: a claim must return a Verdict, got str",
        ),
        (
            ("    ax.legend()\n    return figure", "    return ax"),
            "must return a matplotlib Figure, got Axes",
        ),
        (("return simulated.isel(tosses=0)", "return 3"), "must return an xarray.Dataset, got int"),
    ],
)
def test_a_failing_part_is_told_and_the_rest_goes_on(variant, tmp_path, capsys, pair, message):
    assert run(variant(pair), tmp_path / "out") == 1
    said = capsys.readouterr()
    assert message in said.err
    assert "report: " in said.out


def test_strict_fails_only_on_claims_that_were_expected_to_hold(coins, copied, variant, tmp_path, capsys):
    assert run(coins, copied, "--strict") == 0
    source = variant(('bias.", expected="refuted")', 'bias.")'))
    assert run(source, copied) == 0
    assert run(source, copied, "--strict") == 1
    assert "claim coins C2-printed was expected to hold and is refuted" in capsys.readouterr().err


def test_pictures_of_removed_figures_vanish(copied, variant):
    source = variant(("def variance_against_bias", "def another_name"))
    assert run(source, copied) == 0
    gallery = files(copied / "figures" / "coins")
    assert "another_name.png" in gallery and "variance_against_bias.png" not in gallery


def test_a_dry_run_plans_every_sweep_and_writes_nothing(variant, tmp_path, capsys):
    second = (
        "    return simulated",
        "    sweep(lambda m: m, vary={'m': simulated.value.mean('replica').values[0]})\n",
    )
    source = variant((second[0], second[1] + second[0]))
    assert run(source, tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert said.count("sweep 2") == 1 and "192 (1 case of 192)" in said and "coins.spread" in said


def test_a_dry_run_says_where_it_cannot_see_further(variant, tmp_path, capsys):
    source = variant(("    return simulated", "    int(simulated.value.mean())\n    return simulated"))
    assert run(source, tmp_path / "out", "--dry-run") == 0
    assert "what follows depends on results (ValueError: cannot convert float NaN" in capsys.readouterr().out


def test_a_dry_run_tells_what_is_stored(copied, coins, capsys):
    assert run(coins, copied, "--dry-run") == 0
    assert capsys.readouterr().out.count("a valid result is stored") == 2


# Between the two experiments this variant waits to be killed; the variable keeps the code the same.
WAIT = (
    '    """Work out the variance of the share."""\n',
    '    """Work out the variance of the share."""\n'
    "    if __import__('os').environ.get('COINS_WAIT'):\n        __import__('time').sleep(120)\n",
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_where_it_was(number, variant, finished, tmp_path):
    source, out = variant(WAIT), tmp_path / "out"
    # A shell that runs the tests in the background makes all that it starts deaf to Ctrl-C.
    hearing = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    main_ = f"{hearing}; import sys; from theorysim.lab.cli import main; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        main_,
        "run",
        str(source),
        "--preset",
        "tiny",
        "--out",
        str(out),
        "--fresh",
    ]
    process = subprocess.Popen(
        command,
        env=os.environ | {"COINS_WAIT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stored = out / "results" / "coins" / "tiny" / "shares.nc"
    deadline = time.monotonic() + 60
    while not stored.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130, errors
        assert "to go on: theorysim run" in errors and "--fresh" not in errors
        assert "Traceback" not in errors
    assert stored_record(stored) is not None, "what was finished is kept"
    assert run(source, out) == 0
    assert [item["status"] for item in experiments(out).values()] == ["reused", "done"]
    for name in ("shares", "spread"):
        file = f"results/coins/tiny/{name}.nc"
        xr.testing.assert_equal(load_dataset(out / file), load_dataset(finished / file))
    left = [path.name for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
    assert left == []
