"""benchmarks/throughput.py: what is measured, how, and what the README is told."""

import argparse
import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def throughput(benchmark_script):
    return benchmark_script("throughput")


@pytest.fixture(scope="module")
def options():
    return argparse.Namespace(
        clips=16,
        duration=0.5,
        threads=[1, 2],
        devices=["cpu"],
        peers=["mfcc"],
        data=None,
        repeats=2,
        cache=None,
    )


@pytest.fixture
def stored(throughput, options, tmp_path):
    """A result in which everything takes a millisecond for each second of sound and each thread."""
    seconds = {"main": 0.5}
    results = [
        {
            **job._asdict(),
            "seconds": [1e-3 * job.n_clips * seconds.get(job.clips, 0) or 1e-3 * float(job.clips)],
            "peak_memory": 200.0,
        }
        for job in throughput.jobs(options)
    ]
    found = {
        "source": "synthetic notes",
        "sizes": ["--clips", "16"],
        "n_clips": 16,
        "clip_seconds": 0.5,
        "results": results,
        "left_out": ["egemaps"],
        "peer_versions": {"librosa": "1.0"},
        "versions": {"audiorep": "0"},
        "machine": {"processor": "abacus", "n_cores": 2},
    }
    path = tmp_path / "throughput.json"
    path.write_text(json.dumps(found))
    return path


def test_what_is_compared_is_measured_on_the_same_clips(throughput, options):
    jobs = throughput.jobs(options)
    compared = [job for job in jobs if job.part == "transform" and job.device == "cpu"]
    rows = [throughput.FLOOR, *throughput.ENCODERS, "mfcc"]
    assert [(job.row, job.threads) for job in compared] == [(r, n) for n in (1, 2) for r in rows]
    assert {(job.clips, job.n_clips) for job in compared} == {("main", 16)}
    assert {job.n_clips for job in jobs if job.part == "number"} == {2, 4, 8, 16}
    assert {job.clips for job in jobs if job.part == "length"} == {"1", "2", "4", "8"}
    shared = [job for job in jobs if job.part == "processes"]
    assert {(job.n_clips, job.threads, job.processes) for job in shared} == {
        (128, 2, 1),
        (128, 1, 2),
    }
    assert len({str(job) for job in jobs}) == len(jobs)


def test_nothing_is_shared_on_one_core(throughput, options):
    alone = argparse.Namespace(**{**vars(options), "threads": [1]})
    assert not [job for job in throughput.jobs(alone) if job.part == "processes"]


def test_the_tables_of_a_result(throughput, stored):
    table = throughput.render(stored)
    assert f"| {throughput.FLOOR} | cpu | 2 | 2000.0 | 0.2778 | 200 | 1.0 |" in table
    assert "| MFCC, deltas: librosa | cpu | 1 | 2000.0 | 0.2778 | 200 | 1.0 |" in table
    assert "| clips per second, by clips per call | 1 | 8 | 64 |" in table
    assert "| clips per second, of 128 clips | 2 threads | 2 processes |" in table
    assert f"| {throughput.FLOOR} | 2000.0 | 2000.0 |" in table
    assert "Of 128 clips: each 8 times; processes have one thread each" in table
    assert "batch_size 128 | precision float32 | precision bfloat16 |" in table
    assert "8.0 times as many clips | 8.0 times as long clips |" in table
    assert "| contrastive, transform | 8.0 | 8.0 |" in table
    assert "Peers: librosa 1.0; failed: eGeMAPS: openSMILE." in table
    assert "Made by `python benchmarks/throughput.py --clips 16` and" in table
    assert "on abacus, 2 cores; audiorep 0; commit unknown." in table


@pytest.mark.parametrize("devices", [["cpu", "cuda"], ["cuda"]])
def test_a_gpu_is_compared_with_the_floor_too(throughput, options, stored, devices):
    chosen = argparse.Namespace(**{**vars(options), "threads": [2], "devices": devices})
    jobs = throughput.jobs(chosen)
    assert len({str(job) for job in jobs}) == len(jobs)
    found = json.loads(stored.read_text())
    found["results"] = [
        {**job._asdict(), "seconds": [1.0 + (job.device == "cuda")], "peak_memory": 200.0}
        for job in jobs
    ]
    found["machine"]["gpu"] = "harp"
    stored.write_text(json.dumps(found))
    table = throughput.render(stored)
    assert "| contrastive | cuda | 2 | 8.0 | 0.0011 | 200 | 2.0 |" in table
    assert "on abacus, 2 cores, harp; audiorep 0" in table
    if devices == ["cuda"]:
        assert {job.device for job in jobs if job.row != throughput.FLOOR} == {"cuda"}
        assert "as files; clips per call and batch sizes with one thread on the GPU." in table
        assert "| contrastive | cpu" not in table
        assert "grows by the factor" not in table


def test_tables_of_both_machines_follow_each_other(throughput, stored):
    alone = throughput.render(stored)
    of_gpu = stored.with_name("throughput_gpu.json")
    of_gpu.write_text(stored.read_text().replace("abacus", "lyre"))
    assert throughput.render(stored) == alone + "\n\n" + alone.replace("abacus", "lyre")
    stored.unlink()
    assert throughput.render(stored) == alone.replace("abacus", "lyre")
    of_gpu.unlink()
    assert throughput.render(stored) == "No results are stored yet."


@pytest.mark.parametrize(("devices", "folders"), [(["cuda"], "1"), (["cpu"], "1248")])
def test_clips_are_written_that_are_measured(throughput, options, tmp_path, devices, folders):
    chosen = argparse.Namespace(**{**vars(options), "clips": 2, "devices": devices})
    files = throughput.clip_files(tmp_path, chosen, throughput.jobs(chosen))
    assert sorted(files) == [*folders, "main"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*folders, "main"]
    assert all(len(paths) == 2 for paths in files.values())


def test_too_few_clips_to_see_growth_are_refused(throughput, capsys):
    with pytest.raises(SystemExit):
        throughput.main(["--clips", "15"])
    assert "--clips 15: at least 16" in capsys.readouterr().err


def test_a_ratio_is_that_of_its_own_round(throughput, stored):
    found = json.loads(stored.read_text())
    for result in found["results"]:
        if result["part"] == "transform":
            slow = 3 if result["row"] == "contrastive" else 1
            result["seconds"] = [slow * 1.0, slow * 100.0, slow * 2.0]
    stored.write_text(json.dumps(found))
    assert "| contrastive | cpu | 1 | 2.7 | 0.0004 | 200 | 3.0 |" in throughput.render(stored)


def test_the_figure_has_two_panels_with_every_curve(throughput, stored, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    throughput.draw(json.loads(stored.read_text()), tmp_path / "growth.png")
    monkeypatch.undo()
    axes = figures[0].axes
    plt.close(figures[0])
    assert [len(ax.lines) for ax in axes] == [len(throughput.GROWING)] * 2
    assert list(axes[0].lines[0].get_xdata()) == [2, 4, 8, 16]
    assert np.ptp(plt.imread(tmp_path / "growth.png")[..., :3]) > 0.5


@pytest.mark.parametrize("task", ["floor", "transform", "fit"])
def test_a_measurement(throughput, options, task, tmp_path):
    files = throughput.write_notes(tmp_path / "notes", 6, 0.2)
    job = {"row": "contrastive", "task": task, "threads": torch.get_num_threads(), "files": files}
    job["processes"] = 1
    job |= {"device": "cpu", "per_call": 4, "parameters": {"n_epochs": 0}, "encoder": None}
    if task == "floor":
        job |= {"row": throughput.FLOOR, "task": "transform"}
    elif task == "transform":
        job["encoder"] = throughput.save_encoders(tmp_path, files)["contrastive"]
        assert [len(rows) for rows in throughput.work_of(job)()] == [4, 2]
    else:
        assert throughput.work_of(job)().n_epochs == 0
    found = throughput.measure(job)
    assert found["seconds"] > 0
    assert found["peak_memory"] > 50


def test_processes_are_measured(throughput, options, tmp_path):
    files = throughput.write_notes(tmp_path / "notes", 6, 0.2)
    job = throughput.Job("processes", throughput.FLOOR, "transform", "main", 6, processes=2)
    found = throughput.measured(job, files, {}, options)
    assert found["seconds"] > 0


@pytest.mark.parametrize("devices", [[], ["cuda", "cpu"], ["cuda"]])
def test_a_run_takes_turns(throughput, tmp_path, monkeypatch, capsys, devices):
    """Two rounds of two jobs, one of which is done once."""
    jobs = [
        throughput.Job("transform", throughput.FLOOR, "transform", "main", 8),
        throughput.Job("fit", "contrastive", "fit", "1", 8, parameters={"n_epochs": 0}),
    ]
    drawn = []
    monkeypatch.setattr(throughput, "jobs", lambda options: jobs)
    monkeypatch.setattr(throughput, "tables", lambda found: "tables")
    monkeypatch.setattr(throughput, "draw", lambda found, path: drawn.append(path))
    monkeypatch.setattr(throughput, "save_encoders", lambda *arguments: {})
    results = tmp_path / "results"
    monkeypatch.setattr(throughput, "RESULT", results / "throughput.json")
    monkeypatch.setattr(throughput, "RESULT_OF_GPU", results / "throughput_gpu.json")
    call = ["--clips", "16", "--duration", "0.2", "--repeats", "2"]
    if devices:
        # Once in processes of their own is enough.
        monkeypatch.setattr(
            throughput, "measured", lambda *job: {"seconds": 1.0, "peak_memory": 1.0}
        )
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "harp")
        call += ["--devices", *devices]
    assert throughput.main(call) == 0
    with_cpu = devices != ["cuda"]
    (path,) = results.iterdir()
    assert path.name == ("throughput.json" if with_cpu else "throughput_gpu.json")
    assert bool(drawn) == with_cpu
    found = json.loads(path.read_text())
    assert [len(result["seconds"]) for result in found["results"]] == [2, 1]
    assert found["clip_seconds"] == pytest.approx(0.2)
    assert found["sizes"][-1 - len(devices or ["cpu"]) :] == [
        "--devices",
        *sorted(devices or ["cpu"]),
    ]
    assert found["machine"].get("gpu") == ("harp" if devices else None)
    assert str(tmp_path) not in path.read_text()
    shown = [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["round 1, 1/2", "round 1, 2/2", "round 2, 1/2"]


def test_a_peer_that_fails_is_left_out_and_the_others_go_on(
    throughput, tmp_path, monkeypatch, capsys
):
    jobs = [
        throughput.Job("transform", row, "transform", "main", 8)
        for row in ("mfcc", throughput.FLOOR)
    ]

    def fail(*arguments, **options):
        raise throughput._peers.PeerError("no librosa today")

    monkeypatch.setattr(throughput, "jobs", lambda options: jobs)
    monkeypatch.setattr(throughput._peers, "extract", fail)
    monkeypatch.setattr(throughput, "save_encoders", lambda *arguments: {})
    monkeypatch.setattr(throughput, "FACTORS", (1,))
    options = argparse.Namespace(
        clips=8,
        duration=0.2,
        repeats=2,
        data=None,
        cache=tmp_path,
        threads=[1],
        devices=["cpu"],
        peers=["mfcc"],
    )
    found = throughput.run(options)
    assert [result["row"] for result in found["results"]] == [throughput.FLOOR]
    assert len(found["results"][0]["seconds"]) == 2
    assert found["left_out"] == ["mfcc"]
    assert "mfcc failed and is left out: no librosa today" in capsys.readouterr().err
