"""Benchmarks: tables are made from what is stored, and runs go on."""

import importlib
import json
import math
from itertools import combinations
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch

from audiorep import ContrastiveAudioEncoder, VQTransformerEncoder
from audiorep._log_mels import LogMels
from audiorep.datasets import make_instrument_notes
from audiorep.evaluation import SupervisedAudioClassifier
from audiorep.evaluation._store import describe

ROOT = Path(__file__).resolve().parent.parent


def script(name):
    """Return a benchmark as a module; its folder is looked into, as when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def benchmark():
    return script("linear_evaluation")


@pytest.fixture(scope="module")
def other_labels():
    return script("other_labels")


@pytest.fixture(scope="module")
def few_labels():
    return script("label_efficiency")


TABLES = (
    "ablation",
    "code_likelihood",
    "fit_time",
    "label_efficiency",
    "linear_evaluation",
    "other_labels",
    "peers",
    "sampling",
    "throughput",
    "training_speed",
    "transform_time",
)


@pytest.fixture(params=TABLES)
def with_table(request):
    return script(request.param)


@pytest.fixture
def folder(tmp_path):
    """A folder of sets that holds one, of synthetic notes in five folds."""
    notes = make_instrument_notes(40, n_timbres=2, duration=0.2, random_state=0)
    (tmp_path / "sets" / "esc10").mkdir(parents=True)
    lines = ["file,label,group,split"]
    for i, (waveform, label) in enumerate(zip(notes.data, notes.target, strict=True)):
        soundfile.write(tmp_path / "sets" / "esc10" / f"{i}.wav", waveform, notes.sample_rate)
        lines.append(f"{i}.wav,{label},{i},{i // 2 % 5 + 1}")
    (tmp_path / "sets" / "esc10" / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "sets"


@pytest.fixture(scope="module")
def likelihood():
    return script("code_likelihood")


@pytest.fixture(scope="module")
def ablation():
    return script("ablation")


@pytest.fixture(scope="module")
def speed():
    return script("training_speed")


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


def test_without_results_the_table_says_so(with_table, tmp_path):
    assert with_table.render(tmp_path) == "No results are stored yet."


def test_every_table_has_a_place_of_its_own():
    markers = [marker for name in TABLES for marker in script(name).PLACE]
    assert len(set(markers)) == 2 * len(TABLES)


def test_the_command_line_writes_the_table(with_table, tmp_path, monkeypatch):
    begin, end = with_table.PLACE
    readme = tmp_path / "README.md"
    readme.write_text(f"{begin}\n{end}\n")
    monkeypatch.setattr(with_table, "README", readme)
    assert with_table.main(["--table"]) == 0
    assert with_table.PLACE.read(readme) == with_table.render()


def test_the_table_is_made_from_stored_results(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl", notes={"commit": "abc"})
    store.append(record("contrastive", "1", 0, 0.2, settings="old"))
    for fold, score in zip("12345", (0.9, 0.9, 0.9, 0.8, 1.0), strict=True):
        store.append(record("contrastive", fold, 0, score))
    store.append(record("chance", "1", None, 0.1))
    drums = benchmark.ResultStore(tmp_path / "drums.jsonl")
    drums.append(record("VQ-transformer", "1", 0, 0.7, accuracy=0.0))
    table = benchmark.render(tmp_path)
    assert "| chance | 10.0 (1 of 5 folds) |  |  |" in table
    assert "| contrastive | 90.0 ± 6.3 |  |  |" in table
    assert "| VQ-transformer |  | 70.0 (1 of 5 folds) |  |" in table
    assert "BYOL-A" in table
    assert "Measured once, elsewhere" in table
    assert "on abacus, 2 cores; audiorep 0; commit abc and unknown." in table
    assert "ESC-10: 5 published folds, 1 seed; drums" in table


def test_the_legend_tells_which_rows_have_fewer_seeds(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl", notes={"commit": "abc"})
    for seed in range(3):
        store.append(record("contrastive", "1", seed, 0.9))
        store.append(record("supervised", "1", seed, 0.8))
    store.append(record("both", "1", 0, 0.9))
    table = benchmark.render(tmp_path)
    assert "3 seeds of contrastive, supervised and 1 seed of both. Encoders" in table


def test_the_table_tells_what_training_adds(benchmark, tmp_path):
    for name, (before, after) in {"esc10": (0.5, 0.7), "drums": (0.6, 0.55)}.items():
        store = benchmark.ResultStore(tmp_path / f"{name}.jsonl")
        for fold in benchmark.DATA_SETS[name].folds:
            store.append(record("contrastive untrained", fold, 0, before))
            store.append(record("contrastive", fold, 0, after))
    table = benchmark.render(tmp_path)
    assert "| contrastive | 70.0 ± 0.0 | 55.0 ± 0.0 | 62.5 |" in table
    assert "What training adds to random weights, set by set: contrastive +20.0, -5.0." in table


def test_what_training_adds_is_told_by_seeds_that_both_have(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl")
    store.append(record("contrastive untrained", "1", 0, 0.5))
    for seed, score in enumerate((0.7, 0.9)):
        store.append(record("contrastive", "1", seed, score))
    assert "set by set: contrastive +20.0." in benchmark.render(tmp_path)


def test_the_supervised_row_is_no_linear_fit(benchmark, tmp_path):
    store = benchmark.ResultStore(tmp_path / "esc10.jsonl")
    store.append(record("contrastive", "1", 0, 0.9))
    assert "which converged in all of 1 fits. UAR" in benchmark.render(tmp_path)
    store.append(record("supervised", "1", 0, 0.8, n_features=None))
    store.append(record("both", "1", 0, 0.8, n_not_converged=1))
    table = benchmark.render(tmp_path)
    assert "which did not converge in 1 of 2 fits. Supervised: the network" in table
    rows = [line.split(" | ")[0] for line in table.splitlines()]
    assert rows.index("| supervised") < rows.index("| contrastive")


def test_the_table_goes_between_its_markers(with_table, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        with_table.PLACE.write(readme, "table")
    begin, end = with_table.PLACE
    readme.write_text(f"before\n{begin}\noutdated\n{end}\nafter\n")
    with_table.PLACE.write(readme, "table")
    assert readme.read_text() == f"before\n{begin}\ntable\n{end}\nafter\n"
    assert with_table.PLACE.read(readme) == "table"


# ---------------------------------------------------------------------- run


def test_a_linear_evaluation_is_stored_and_goes_on(benchmark, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    call = ["--data", str(folder), "--sets", "esc10", "--encoders", "log-mel statistics"]
    benchmark.main([*call, "--folds", "1"])
    assert "| log-mel statistics | 100.0 (1 of 5 folds) |" in benchmark.render(benchmark.RESULTS)
    before = (tmp_path / "results" / "esc10.jsonl").read_text()
    benchmark.main(call)
    after = (tmp_path / "results" / "esc10.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2 * 5
    assert str(folder) not in after


def test_halves_are_held_out_in_turn(other_labels):
    held_out = np.array(["c", "a", "b", "a", "d", "c"])
    first, second = other_labels.halves(held_out).values()
    assert set(held_out[first[1]]) == {"a", "c"}
    assert set(held_out[second[1]]) == {"b", "d"}
    for train, test in (first, second):
        assert sorted([*train, *test]) == list(range(6))


def test_both_halves_of_instruments_have_every_family(other_labels):
    data = Bunch(
        target=np.array([1, 0, 4, 3, 2]),
        target_names=["cello", "horn", "trombone", "violin", "tuba"],
        groups=None,
        metadata={
            "family": np.array(["brass", "bowed", "brass", "bowed", "brass"]),
            "midi": np.array(["60", "61", "72", "47", "59"]),
        },
    )
    columns = other_labels.columns_of(data)
    assert columns["note"].tolist() == [0, 1, 0, 11, 11]
    for train, test in other_labels.halves(columns["instrument"]).values():
        assert set(columns["family"][train]) == set(columns["family"][test]) == {"brass", "bowed"}
        assert not set(columns["label"][train]) & set(columns["label"][test])


def test_other_labels_are_stored_and_go_on(other_labels, folder, tmp_path, monkeypatch, capsys):
    """Here who speaks is told apart on words that were not heard."""
    results = tmp_path / "results"
    monkeypatch.setattr(other_labels, "RESULTS", results)
    (folder / "esc10").rename(folder / "fsdd")
    path = folder / "fsdd" / "labels.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    lines = [f"{file},{i % 4},s{i % 3},1" for i, (file, *_) in enumerate(rows)]
    path.write_text("\n".join(["file,label,group,split", *lines]) + "\n")
    command = ["--data", str(folder), "--sets", "speaker", "--encoders"]
    assert other_labels.main([*command, "log-mel statistics,MFCC statistics"]) == 0
    assert other_labels.main([*command, "log-mel statistics,MFCC statistics"]) == 0
    assert other_labels.main([*command, "log-mel statistics", "--folds", "9"]) == 0
    shown = capsys.readouterr()
    assert "log-mel statistics" in shown.out
    assert "speaker: none of the folds 9" in shown.err
    found = [json.loads(line) for line in (results / "speaker.jsonl").read_text().splitlines()]
    assert len(found) == 3 * 2  # with chance; a second run has nothing to do
    assert {record["fold"] for record in found} == {"first half", "second half"}
    assert {record["n_classes"] for record in found} == {3}
    assert {record["n_train"] for record in found} == {20}
    table = other_labels.render(results)
    assert "| chance | 33.3 ± 0.0 |" in table
    assert "half of the digits, no seed." in table
    assert "| UAR, in percent | FSDD: who of 6 speaks |" in table


def test_both_beside_each_other_come_with_the_two(other_labels, monkeypatch):
    unions = []
    columns = {"label": np.array(["0", "1"] * 2), "group": np.array(["s1", "s1", "s2", "s2"])}
    monkeypatch.setattr(other_labels, "columns_of", lambda data: columns)
    monkeypatch.setattr(
        other_labels, "linear_evaluation", lambda *_, **kwargs: unions.append(kwargs["unions"])
    )
    monkeypatch.setattr(other_labels, "load_audio_folder", lambda folder: Bunch(data=[]))
    for names in ("contrastive", "contrastive, log-mel statistics"):
        other_labels.main(["--sets", "speaker", "--encoders", names])
    beside = ("contrastive", "log-mel statistics")
    assert unions == [{}, {"contrastive, log-mel statistics": beside}]


def test_a_control_that_is_ahead_is_told(other_labels):
    def found(**scores):
        return {"speaker": {row: [record(row, "first half", 0, x)] for row, x in scores.items()}}

    learned = {"contrastive": 0.7, "VQ-transformer": 0.8}
    ahead = found(**learned, supervised=0.9)
    assert other_labels._ahead(ahead) == (
        "Ahead of every encoder: supervised (FSDD: who of 6 speaks)."
    )
    level = found(**learned, supervised=0.8)
    assert other_labels._ahead(level) == "Ahead of every encoder: none of the controls."


def test_label_efficiency_is_stored_and_goes_on(few_labels, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(few_labels, "RESULTS", tmp_path / "results")
    call = ["--data", str(folder), "--sets", "esc10", "--encoders", "log-mel statistics"]
    call += ["--folds", "1", "3"]
    few_labels.main([*call, "--labels", "1", "4", "--draws", "2"])
    assert "mean ± standard deviation over 2 folds and 2 draws" in capsys.readouterr().out
    before = (tmp_path / "results" / "esc10.jsonl").read_text()
    few_labels.main([*call, "--labels", "1", "4", "8", "--draws", "3"])
    after = (tmp_path / "results" / "esc10.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2 * (3 * 3 + 3)


def test_the_table_tells_where_few_labels_alone_do_better(few_labels):
    def points(*scores):
        labels = few_labels.N_LABELS
        return [
            {"n_labels": n, "accuracy_mean": score, "balanced_accuracy_mean": score}
            for n, score in zip(labels, scores, strict=False)
        ]

    rows = {"contrastive": points(0.5, 0.6), "VQ-transformer": points(0.7, 0.5)}
    found = {
        "esc10": {**rows, "supervised": points(0.6, 0.7)},
        "drums": {**rows, "supervised": points(0.1)},
        "fsdd": rows,
    }
    assert few_labels._verdicts(found) == [
        "At 1 per class, the supervised network is ahead of every encoder on 0 of 2 sets.",
        "",
        "At 2 per class, the supervised network is ahead of every encoder on 1 of 1 sets: ESC-10.",
        "",
    ]


@pytest.mark.parametrize("name", ["linear_evaluation", "label_efficiency", "ablation"])
def test_a_fold_that_is_not_there_is_told(name, folder, tmp_path, monkeypatch, capsys):
    benchmark = script(name)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    benchmark.main(["--data", str(folder), "--sets", "esc10", "--folds", "9"])
    assert "esc10: none of the folds 9" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("name", "evaluation", "options", "expected"),
    [
        ("linear_evaluation", "linear_evaluation", [], [(1, None)]),
        ("linear_evaluation", "linear_evaluation", ["--full"], [(1, None), (3, None)]),
        ("label_efficiency", "label_efficiency_curve", [], [(1, (1, 2, 5, 10)), (1, (5,))]),
        ("label_efficiency", "label_efficiency_curve", ["--labels", "3"], [(1, [3]), (1, [3])]),
        ("ablation", "linear_evaluation", ["--folds", "1"], [(1, None)]),
    ],
)
def test_options_reach_the_evaluations(name, evaluation, options, expected, folder, monkeypatch):
    """How many seeds, and labels, the rows are evaluated with; and on which device."""
    benchmark = script(name)
    calls = []

    def noted(encoders, *, random_states, n_labels=None, **others):
        calls.append((encoders, (len(random_states), n_labels)))

    monkeypatch.setattr(benchmark, evaluation, noted)
    benchmark.main(["--data", str(folder), "--sets", "esc10", "--device", "meta", *options])
    assert [made for _, made in calls] == expected
    for encoders, _ in calls:
        devices = {e.device for e in encoders.values() if hasattr(e, "device")}
        assert devices == {"meta"}
    if len(calls) == 2:
        second = {"linear_evaluation": "contrastive", "label_efficiency": "supervised"}
        assert list(calls[1][0]) == [second[name]]


# ---------------------------------------------------------------------- few labels


@pytest.fixture
def few_results(few_labels, tmp_path):
    """Results of one fold of ESC-10 and all of the drums."""
    for name, folds, rows in (
        ("esc10", "1", {"contrastive": 0.5, "supervised": 0.3}),
        ("drums", "12345", {"contrastive": 0.6}),
    ):
        store = few_labels.ResultStore(tmp_path / f"{name}.jsonl")
        for fold in folds:
            for n_labels in (1, 5):
                chance = {"n_labels": n_labels, "draw": None, "n_labelled": 40}
                store.append(record("chance", fold, None, 0.1, **chance, key=f"{fold}{n_labels}"))
                for row, score in rows.items():
                    for draw in (0, 1):
                        about = {"n_labels": n_labels, "draw": draw, "n_labelled": n_labels}
                        key = f"{row}-{fold}-{n_labels}-{draw}"
                        score += 0.1 * draw
                        store.append(record(row, fold, 0, score, **about, key=key))
    return tmp_path


def test_the_table_of_few_labels_has_a_block_per_number(few_labels, few_results):
    table = few_labels.render(few_results)
    assert "| labels per class |  | ESC-10 | drums |" in table
    lines = [line for line in table.splitlines() if line.startswith("|")][3:]
    assert lines == [
        "| 1 | chance | 10.0 | 10.0 ± 0.0 |",
        "|  | supervised | 35.0 ± 5.0 |  |",
        "|  | contrastive | 55.0 ± 5.0 | 65.0 ± 5.0 |",
        "| 5 | chance | 10.0 | 10.0 ± 0.0 |",
        "|  | supervised | 35.0 ± 5.0 |  |",
        "|  | contrastive | 55.0 ± 5.0 | 65.0 ± 5.0 |",
    ]
    assert "ESC-10: 5 published folds, 1 of 5 folds, 2 draws, 1 seed;" in table
    assert "drums: 5 folds of whole kits, 2 draws, 1 seed." in table
    assert "on abacus, 2 cores; audiorep 0; commit unknown." in table
    assert few_labels.render(few_results / "nothing") == "No results are stored yet."


def test_the_table_of_few_labels_says_which_rows_have_fewer_draws(few_labels, few_results):
    path = few_results / "esc10.jsonl"
    kept = [
        text
        for text in path.read_text().splitlines()
        if (json.loads(text)["encoder"], json.loads(text)["draw"]) != ("supervised", 1)
    ]
    path.write_text("\n".join(kept) + "\n")
    table = few_labels.render(few_results)
    assert "ESC-10: 5 published folds, 1 of 5 folds, 2 draws (supervised: 1), 1 seed;" in table


def test_the_figure_has_a_panel_per_set(few_labels, few_results, monkeypatch):
    monkeypatch.setattr(few_labels, "RESULTS", few_results)
    few_labels.main(["--figure", str(few_results / "curves.png")])
    picture = plt.imread(few_results / "curves.png")
    assert picture.shape[1] > 1.7 * picture.shape[0]  # two panels, and a legend below
    assert np.ptp(picture[..., :3]) > 0.5
    with pytest.raises(ValueError, match="No results are stored yet"):
        few_labels.draw(few_results / "none.png", few_results / "nothing")


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
    store = likelihood.ResultStore(tmp_path / "drums.jsonl", notes={"commit": "abc"})
    for fold, bits in (("2", 3.0), ("3", 4.0)):
        store.append(record(bits, fold, 0, 0.0, bigram=5.0, unigram=7.0))
    table = likelihood.render(tmp_path)
    assert "| bits per code | folds | encoder | bigram | unigram |" in table
    assert "| drums | 2, 3 | 3.50 | 5.00 | 7.00 |" in table
    assert "ESC-10" not in table
    assert "on abacus, 2 cores; audiorep 0; commit abc." in table


def test_fits_of_the_first_folds_are_timed(folder, tmp_path, monkeypatch):
    timing = script("fit_time")
    monkeypatch.setattr(timing, "RESULT", tmp_path / "results" / "fit_time.json")
    rows = "log-mel statistics,MFCC statistics"
    assert timing.main(["--data", str(folder), "--sets", "esc10", "--encoders", rows]) == 0
    table = timing.render(timing.RESULT)
    assert "| seconds to fit one fold | ESC-10 |" in table
    assert "| *training clips* | 32 |" in table
    found = json.loads(timing.RESULT.read_text())
    assert [result["row"] for result in found["results"]] == rows.split(",")
    assert all(result["fold"] == "1" and result["seconds"] > 0 for result in found["results"])
    assert f"| MFCC statistics | {found['results'][1]['seconds']:.0f} |" in table


def test_a_set_that_was_not_timed_leaves_a_gap_and_the_last_time_counts(tmp_path, monkeypatch):
    timing = script("fit_time")
    monkeypatch.setattr(timing, "RESULT", tmp_path / "fit.json")
    one = {"set": "drums", "fold": "1", "n_clips": 90, "row": "supervised", "seconds": 60.6}
    other = {"set": "esc10", "fold": "1", "n_clips": 320, "row": "contrastive", "seconds": 99.0}
    for result in (one, other, {**other, "seconds": 83.4}):
        timing._store({**result, "threads": 2, **timing.environment()})
    table = timing.render(timing.RESULT)
    assert "| contrastive | 83 |  |" in table
    assert "| supervised |  | 61 |" in table
    assert "2 threads." in table
    assert len(json.loads(timing.RESULT.read_text())["results"]) == 2


def test_times_on_another_processor_stand_apart(tmp_path, monkeypatch):
    timing = script("fit_time")
    monkeypatch.setattr(timing, "RESULT", tmp_path / "fit.json")
    fit = {"set": "esc10", "fold": "1", "n_clips": 320, "row": "contrastive", "threads": 2}
    for name, precision, seconds in (
        ("abacus", "float32", 99.0),
        ("loom", "bfloat16", 50.0),
        ("abacus", "float32", 98.0),
    ):
        made = timing.environment()
        made["machine"]["processor"] = name
        timing._store({**fit, "precision": precision, "seconds": seconds, **made})
    table = timing.render(timing.RESULT).splitlines()
    assert table[3:7] == [
        "| **abacus, float32** |  |",
        "| contrastive | 98 |",
        "| **loom, bfloat16** |  |",
        "| contrastive | 50 |",
    ]


def test_what_has_no_fit_of_its_own_cannot_be_timed(folder):
    with pytest.raises(ValueError, match="both has no fit of its own"):
        script("fit_time").main(["--data", str(folder), "--sets", "esc10", "--encoders", "both"])


AGAIN = {"seconds": 7.0}  # of a second round, which need not take the time


def test_transform_is_timed_on_recordings(folder, tmp_path, monkeypatch, capsys):
    timing = script("transform_time")
    monkeypatch.setattr(timing, "RESULT", tmp_path / "results" / "transform_time.json")
    first_round = iter([timing.throughput.measured] * 3)
    monkeypatch.setattr(
        timing.throughput, "measured", lambda *job: next(first_round, lambda *_: AGAIN)(*job)
    )
    measured = ["--sets", "esc10", "--clips", "9", "--repeats", "2", "--threads", "2"]
    assert timing.main(["--data", str(folder), *measured, "--peers"]) == 0
    found = json.loads(timing.RESULT.read_text())
    assert found["n_clips"] == {"esc10": 9}
    rows = [timing.FLOOR, *timing.ENCODERS]
    assert [result["row"] for result in found["results"]] == rows
    assert all(0 < result["seconds"][0] != 7.0 for result in found["results"])
    assert all(result["seconds"][1:] == [7.0] for result in found["results"])
    seconds = [[2.0, 8.0], [4.0, 40.0], [6.0, 16.0]]
    found["results"] = [
        {**result, "seconds": took} for result, took in zip(found["results"], seconds, strict=True)
    ]
    timing.RESULT.write_text(json.dumps(found))
    table = timing.render(timing.RESULT)
    assert "| time of transform, floor = 1 | ESC-10 |" in table
    assert "clips/s* | 2 |" in table
    assert "| contrastive | 3.5 |" in table
    assert "| VQ-transformer | 2.5 |" in table
    assert "Recordings as files: ESC-10 9. 2 threads" in table
    assert "Peers that failed: none." in table
    assert f"Made by `python benchmarks/transform_time.py {' '.join(measured)}` and" in table
    assert str(folder) not in timing.RESULT.read_text()


def test_some_of_many_recordings_are_chosen_evenly(folder):
    some_files = script("transform_time").some_files
    every = some_files(folder / "esc10", 1000)
    assert len(every) == 40
    assert some_files(folder / "esc10", 4) == [every[i] for i in (0, 13, 26, 39)]


def test_both_ways_of_drawing_agree(tmp_path, monkeypatch, capsys):
    sampling = script("sampling")
    monkeypatch.setattr(sampling, "RESULT", tmp_path / "results" / "sampling.json")
    assert sampling.main(["--codes", "60", "--repeats", "1"]) == 0
    table = sampling.render(sampling.RESULT)
    assert capsys.readouterr().out == table + "\n"
    found = json.loads(sampling.RESULT.read_text())
    assert found["same"]
    assert found["n_different"] > 1
    assert f"| without | {found['seconds']['without']:.2f} |" in table
    assert f"Faster by {found['ratio']:.1f} times; the codes are the same" in table


# ---------------------------------------------------------------------- ablation


def test_the_table_of_parts_compares_with_the_defaults(ablation, tmp_path):
    scores = {
        "esc10": {"contrastive": 0.9, "random weights": 0.7, "VQ-transformer": 0.8},
        "drums": {"contrastive": 0.6, "VQ: codes alone": 0.5},
    }
    for name, rows in scores.items():
        store = ablation.ResultStore(tmp_path / f"{name}.jsonl", notes={"commit": "abc"})
        store.append(record("chance", "2", None, 0.1))
        for row, score in rows.items():
            store.append(record(row, "2", 0, score - 0.3, settings="old"))
            store.append(record(row, "2", 0, score - 0.02))
            store.append(record(row, "2", 1, score + 0.02))
    table = ablation.render(tmp_path)
    assert "| ESC-10, accuracy | drums, UAR | mean, less that of the defaults |" in table
    assert "| **contrastive**, defaults | 90.0 | 60.0 |  |" in table
    # The drums, where the row has no result yet, do not count; nor do rows without any.
    assert "| random weights | 70.0 |  | -20.0 |" in table
    assert "| **VQ-transformer**, defaults | 80.0 |  |  |" in table
    assert "| VQ: codes alone |  | 50.0 |  |" in table
    assert "crops only" not in table
    assert "the folds 2 only, seeds 0, 1." in table
    assert "on abacus, 2 cores; audiorep 0; commit abc." in table


def test_rows_are_compared_with_the_defaults_of_their_commit(ablation, tmp_path):
    old = ablation.ResultStore(tmp_path / "esc10.jsonl", notes={"commit": "abc"})
    old.append(record("contrastive", "2", 0, 0.8, key="contrastive of old code"))
    old.append(record("random weights", "2", 0, 0.7, key="random weights of old code"))
    old.append(record("crops only", "2", 0, 0.75, key="crops only of old code"))
    new = ablation.ResultStore(tmp_path / "esc10.jsonl", notes={"commit": "def"})
    new.append(record("contrastive", "2", 0, 0.9))
    new.append(record("random weights", "2", 0, 0.6))
    table = ablation.render(tmp_path)
    assert "| **contrastive**, defaults | 90.0 |  |" in table
    assert "| random weights | 60.0 | -30.0 |" in table
    assert "crops only" not in table  # until it is run again


def test_differences_are_means_over_sets_of_the_folds_that_both_have(ablation):
    def rows(**scores):
        return {
            row: [record(row, fold, 0, score) for fold, score in enumerate(of_folds)]
            for row, of_folds in scores.items()
        }

    found = {
        "esc10": rows(a=[0.90, 0.20], b=[0.91]),  # the other fold is much harder
        "drums": rows(a=[0.60, 0.70], b=[0.62, 0.72]),
        "ravdess": rows(a=[0.5]),
    }
    assert ablation._difference(found, "b", "a") == "+1.5"
    assert ablation._difference({"ravdess": found["ravdess"]}, "b", "a") == ""


def test_every_row_differs_from_the_others_and_can_be_asked_for(ablation):
    rows = ablation.entries()
    described = [tuple(describe(encoder).items()) for encoder in rows.values()]
    assert len(set(described)) == len(rows)  # else the second would not be stored
    assert list(ablation.chosen_entries(None)) == list(rows)
    for name in rows:
        assert list(ablation.chosen_entries(ablation.names_of(name))) == [name]
    with pytest.raises(ValueError, match="no row 'defaults'; choose among contrastive, random"):
        ablation.chosen_entries(["defaults", "contrastive"])


@pytest.fixture(scope="module")
def fitted_rows(ablation):
    """Every row, fitted without training on the same clips."""
    notes = make_instrument_notes(8, duration=0.2, random_state=0)
    small = {"contrastive": {"width": 4}, "VQ": {"width": 64, "n_codes": 16, "n_layers": 2}}
    return {
        name: clone(row)
        .set_params(n_epochs=0, random_state=0, **small["VQ" if "VQ" in name else "contrastive"])
        .fit(notes.data, notes.target)
        for name, row in ablation.entries().items()
    }


def test_variants_change_what_they_say(ablation, fitted_rows):
    def columns(name):
        return len(fitted_rows[name].readout_.mean)

    every = columns("contrastive")
    of_textures = 2 * (7 * 16 + 7 * (16 * 15 // 2) + 2 * 6 * 8 * 8)
    of_filters = 8 * 7 // 2
    of_maps = every - of_textures - of_filters
    besides = of_filters + of_textures

    def of_first_map(name):
        """Return which columns of the log-mels are kept, of every 64 that belong together."""
        kept = fitted_rows[name].readout_.columns
        return [i for i in range(18) if np.isin(np.arange(64 * i, 64 * (i + 1)), kept).all()]

    # Of 18 columns, twice three are of contours, and three more of each of four weightings.
    assert columns("without textures") == of_maps + of_filters
    assert columns("without filters together") == of_maps + of_textures
    assert columns("without contours") == of_maps * 12 // 18 + besides
    assert columns("contours of six parts") == of_maps * 24 // 18 + besides
    assert columns("frames count by loudness alone") == of_maps * 6 // 18 + besides
    assert columns("without prominence") == of_maps * 12 // 18 + besides
    assert columns("without dull and bright") == of_maps * 12 // 18 + besides
    assert of_first_map("without contours") == [0, 1, 2, 6, 7, 8, *range(12, 18)]
    assert of_first_map("without prominence") == [*range(6), *range(12, 18)]
    assert of_first_map("without dull and bright") == list(range(12))
    assert columns("spectrogram alone") == 18 * 64 + of_textures
    assert columns("deepest stage alone") == 18 * (4 * 4) * 4  # filters by bands
    assert fitted_rows["principal axes not levelled"].readout_.saturation == np.inf
    assert fitted_rows["principal axes whitened"].readout_.saturation < 1e-4
    assert columns("VQ: codes alone") == 18 * 16
    assert columns("VQ: last block alone") == 18 * 64
    assert columns("VQ: tokens and blocks alone") == 3 * columns("VQ: last block alone")
    assert columns("VQ: bottleneck alone") == 18 * 4 * 64
    # Of all maps, the encoder leaves out the bottleneck, two stages and two of four bands of the
    # third, the tokens and the last block.
    left_out = 18 * (4 * 64 + 4 * 16 + 4 * 32 + 2 * 128 + 2 * 64)
    assert columns("VQ: all maps") - left_out == columns("VQ-transformer")
    assert columns("VQ: last block too") - 18 * 64 == columns("VQ-transformer")
    assert columns("VQ: without last stage") + 18 * 2 * 128 == columns("VQ-transformer")
    assert fitted_rows["512 features"].readout_.n_features == 512
    assert fitted_rows["altered clips ignored"].readout_.tolerance == np.inf
    assert fitted_rows["neighbours ignored"].readout_.neighbor_tolerance == np.inf
    of_changes = ("random weights", "not played otherwise", "not cut short", "not halved")
    for one, other in combinations([fitted_rows[name].readout_ for name in of_changes], 2):
        np.testing.assert_array_equal(one.mean, other.mean)
        assert np.abs(np.abs(one.projection) - np.abs(other.projection)).max() > 1e-3
    # Heard otherwise, statistics of the same network are others.
    usual = fitted_rows["random weights"]
    for name in ("frames count alike", "floor at 80 dB", "floor at 40 dB"):
        assert columns(name) == every
        assert np.abs(usual.readout_.mean - fitted_rows[name].readout_.mean).max() > 0.01


@pytest.mark.parametrize("name", ["floor at 40 dB", "contours of six parts"])
def test_a_row_that_hears_otherwise_does_so_in_transform_and_nowhere_else(fitted_rows, name):
    clips = make_instrument_notes(8, duration=0.2, random_state=1).data
    row, usual = fitted_rows[name], fitted_rows["random weights"]
    before = usual.transform(clips)
    fitted = clone(row)
    np.testing.assert_array_equal(fitted.fit_transform(clips), fitted.transform(clips))
    np.testing.assert_array_equal(usual.transform(clips), before)


def test_variants_have_other_views(ablation):
    rows = ablation.entries()
    parts = [type(part).__name__ for part in rows["without background"].augmentation]
    assert len(parts) == len(rows["with style mixing"].augmentation) - 2
    assert "BackgroundMixing" not in parts


@pytest.mark.parametrize(
    ("row", "kind"),
    [("contrastive", ContrastiveAudioEncoder), ("VQ-transformer", VQTransformerEncoder)],
)
def test_the_row_of_the_defaults_equals_the_encoder(fitted_rows, row, kind):
    clips = make_instrument_notes(8, duration=0.2, random_state=0).data
    shared = fitted_rows[row]
    plain = kind(**shared.get_params()).fit(clips)
    np.testing.assert_array_equal(shared.transform(clips), plain.transform(clips))


def test_rows_that_differ_in_the_read_out_alone_share_one_training(ablation, monkeypatch):
    trained = []

    rows = script("_ablation_rows")

    def train(encoder, training_set, settings, train):
        trained.append(type(encoder).__name__)
        return encoder._build(settings), {"loss": []}

    monkeypatch.setattr(rows.BaseAudioEncoder, "_trained", train)
    monkeypatch.setattr(rows, "_TRAINED", {})
    clips = make_instrument_notes(8, duration=0.2, random_state=0).data
    for name in ("contrastive", *rows.read_out_entries()):
        clone(ablation.entries()[name]).set_params(width=4, random_state=0).fit(clips)
    assert trained == ["Contrastive"]
    others = [*rows.training_entries()][1:-1]  # the last is trained with labels
    for name in others:
        clone(ablation.entries()[name]).set_params(width=4, random_state=0).fit(clips)
    assert len(trained) == 1 + len(others) > 6
    clone(ablation.entries()["contrastive"]).set_params(width=4, random_state=1).fit(clips)
    clone(ablation.entries()["contrastive"]).set_params(width=4, random_state=0).fit(clips[:7])
    assert len(trained) == 3 + len(others)


def test_labels_train_the_network_and_the_read_out_stays(ablation):
    notes = make_instrument_notes(12, duration=0.2, random_state=0)
    small = {"n_epochs": 2, "width": 4, "random_state": 0}
    row = clone(ablation.entries()["trained with all labels"]).set_params(**small)
    supervised = SupervisedAudioClassifier(**small).fit(notes.data, notes.target)
    row.fit(notes.data, notes.target)
    weights = row.module_.state_dict()
    assert {f"head.{name}" for name in supervised.module_.head.state_dict()} == (
        supervised.module_.state_dict().keys() - weights.keys()
    )
    for name, tensor in weights.items():
        assert tensor.equal(supervised.module_.state_dict()[name])
    rows, probe = row.transform(notes.data), LogisticRegression()
    expected = probe.fit(rows, notes.target).predict(rows)
    np.testing.assert_array_equal(row.predict(notes.data), expected)


def test_an_ablation_is_stored(ablation, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "RESULTS", tmp_path / "results")
    call = ["--data", str(folder), "--sets", "esc10", "--encoders", "random weights"]
    assert ablation.main(call) == 0
    lines = (tmp_path / "results" / "esc10.jsonl").read_text().splitlines()
    assert [json.loads(line)["fold"] for line in lines] == ["2", "2"]  # chance, and the row
    assert "| random weights | " in ablation.render(ablation.RESULTS)


# ---------------------------------------------------------------------- speed


def test_steps_are_taken_in_turn(speed):
    taken = []
    steps = {name: lambda name=name: taken.append(name) for name in ("ours", "usual")}
    seconds = speed.seconds_per_step(steps, repeats=2)
    assert taken == ["ours", "usual"] * 3  # the first round does not count
    assert seconds.keys() == {"ours", "usual"}


def test_a_view_of_one_clip(speed):
    torch.manual_seed(0)
    clip = torch.randn(64, 80).half()
    before = clip.clone()
    first, second = speed.one_view(clip, 48), speed.one_view(clip, 48)
    assert first.shape == second.shape == (64, 48)
    assert (first - second).abs().mean() > 0.1
    assert torch.equal(clip, before)


@pytest.mark.parametrize("kind", ["our_step", "usual_step"])
def test_both_kinds_of_steps_learn(speed, kind, monkeypatch):
    """The losses that the optimiser is given are finite, and every step changes the weights."""
    torch.manual_seed(0)
    optimizers = []
    make = torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda *a, **k: optimizers.append(make(*a, **k)) or optimizers[-1]
    )
    step = getattr(speed, kind)(LogMels([[torch.randn(64, 60)] for _ in range(4)]), 4, 32)
    weights = optimizers[0].param_groups[0]["params"]
    for _ in range(2):
        before = [weight.detach().clone() for weight in weights]
        step()
        assert all(torch.isfinite(weight).all() for weight in weights)
        assert not all(map(torch.equal, before, weights))


def test_what_is_measured_of_a_fit(speed, tmp_path, monkeypatch, capsys):
    """Parts of the profile are parts: they do not overlap."""
    monkeypatch.setattr(speed, "RESULT", tmp_path / "results" / "training_speed.json")
    monkeypatch.setattr(speed, "N_CLIPS", 4)
    monkeypatch.setattr(speed, "SECONDS", 2)
    n_threads = torch.get_num_threads()
    try:
        assert speed.main(["--repeats", "1"]) == 0
    finally:
        torch.set_num_threads(n_threads)
    result = json.loads(speed.RESULT.read_text())
    assert json.loads(capsys.readouterr().out) == result
    parts = result["fit_seconds"]
    total = parts.pop("all")
    assert min(parts.values()) > 0
    assert sum(parts.values()) < total
    assert 0 < result["share_of_network"] < 1
    assert result["ratio"] > 0
    table = speed.render(speed.RESULT)
    assert f"Faster by {result['ratio']:.1f} times, 1 thread" in table
    shares = [line.split(" | ")[-1] for line in table.splitlines() if line.endswith(" % |")]
    assert sum(float(share.split()[0]) for share in shares) == pytest.approx(100, abs=0.5)
