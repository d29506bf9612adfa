"""Benchmarks: the README shows what is stored, and nothing else."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def script(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as when it is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@pytest.fixture(scope="module")
def benchmark():
    return script("linear_evaluation")


@pytest.fixture(scope="module")
def likelihood():
    return script("code_likelihood")


def record(encoder, fold, seed, score, settings="new", **others):
    return {
        "encoder": encoder,
        "fold": fold,
        "seed": seed,
        "accuracy": score,
        "balanced_accuracy": score,
        "fit_seconds": 50.0,
        "transform_seconds": 5.0,
        "n_features": 10,
        "n_not_converged": 0,
        "settings": settings,
        "key": f"{encoder}-{fold}-{seed}-{settings}",
        "versions": {"audiorep": "0"},
        "machine": {"processor": "abacus", "n_cores": 2},
        **others,
    }


def test_the_readme_shows_the_stored_results(benchmark):
    table = benchmark.shown(benchmark.README)
    if benchmark.stored(benchmark.RESULTS):
        assert table == benchmark.render()
    else:
        assert not any(character.isdigit() for character in table or "")


def test_the_table_is_made_from_stored_results(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl", notes={"commit": "abc"})
    store.append(record("contrastive", "1", 0, 0.2, settings="old"))
    for fold, score in zip("12345", (0.9, 0.9, 0.9, 0.8, 1.0), strict=True):
        store.append(record("contrastive", fold, 0, score))
    store.append(record("chance", "1", None, 0.1))
    drums = benchmark.ResultStore(tmp_path / "drums.jsonl")
    drums.append(record("VQ-transformer", "1", 0, 0.7, accuracy=0.0))
    table = benchmark.render(tmp_path)
    assert "| chance | 10.0 (1 of 5 folds) |  |" in table
    assert "| contrastive | 90.0 ± 6.3 |  |" in table
    assert "| VQ-transformer |  | 70.0 (1 of 5 folds) |" in table
    assert "| contrastive | 50 |  |" in table
    assert "BYOL-A" in table
    assert "Measured elsewhere" in table
    assert "on abacus, 2 cores; audiorep 0; commit abc and unknown." in table


def test_the_supervised_row_is_no_linear_fit(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl")
    store.append(record("contrastive", "1", 0, 0.9))
    assert "did not converge in 0 of 1 fits. UAR" in benchmark.render(tmp_path)
    store.append(record("supervised", "1", 0, 0.8, n_features=None))
    table = benchmark.render(tmp_path)
    assert "did not converge in 0 of 1 fits. Supervised: the network" in table
    rows = [line.split(" | ")[0] for line in table.splitlines()]
    assert rows.index("| supervised") < rows.index("| contrastive")


def test_the_table_goes_between_its_markers(benchmark, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        benchmark.write_table(readme, tmp_path)
    readme.write_text(f"before\n{benchmark.BEGIN}\noutdated\n{benchmark.END}\nafter\n")
    benchmark.ResultStore(tmp_path / "esc10.jsonl").append(record("both", "1", 0, 0.5))
    benchmark.write_table(readme, tmp_path)
    assert readme.read_text().startswith("before\n")
    assert readme.read_text().endswith("\nafter\n")
    assert benchmark.shown(readme) == benchmark.render(tmp_path)
    assert "outdated" not in readme.read_text()


# ---------------------------------------------------------------------- codes


def test_tables_of_codes_are_probabilities(likelihood):
    rng = np.random.default_rng(0)
    codes = [rng.integers(5, size=(n, 2)) for n in (1, 7, 30)]
    common = likelihood.unigram(codes, 5)
    np.testing.assert_allclose(common.sum(1), 1)
    for table in likelihood.bigrams(codes, common).values():
        np.testing.assert_allclose(table.sum(2), 1)


def test_bits_of_tables_by_hand(likelihood):
    """A clip that goes 0, 1, 0, 1 for ever: the unigram needs a bit, the bigram almost none."""
    clip = np.arange(4000).reshape(-1, 1) % 2
    common = likelihood.unigram([clip], 2)
    assert likelihood.bits_by_tables([clip], common, common) == pytest.approx(1.0)
    for table in likelihood.bigrams([clip], common).values():
        assert likelihood.bits_by_tables([clip], common, table) < 0.02
    certain = np.array([[[0.5, 0.5], [0.25, 0.75]]])
    bits = likelihood.bits_by_tables([np.array([[0], [1], [1]])], np.array([[0.5, 0.5]]), certain)
    assert bits == pytest.approx((1 + 1 - math.log2(0.75)) / 3)


def test_the_table_of_bits_is_made_from_stored_results(likelihood, tmp_path):
    store = likelihood.ResultStore(tmp_path / "drums.jsonl")
    for fold, bits in (("2", 3.0), ("3", 4.0)):
        store.append({"key": fold, "fold": fold, "encoder": bits, "bigram": 5.0, "unigram": 7.0})
    assert "| drums | 2, 3 | 3.50 | 5.00 | 7.00 |" in likelihood.render(tmp_path)


def test_both_ways_of_drawing_agree(capsys):
    assert script("sampling").main(["--codes", "60", "--repeats", "1"]) == 0
    assert "the same codes    yes" in capsys.readouterr().out
