"""Benchmarks: the README shows what is stored, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def benchmark():
    script = ROOT / "benchmarks" / "linear_evaluation.py"
    spec = importlib.util.spec_from_file_location("benchmark_linear_evaluation", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
