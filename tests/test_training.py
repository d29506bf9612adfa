"""The training loop, its schedule and its randomness."""

import math
import os
import pathlib
import signal
import threading
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn

from audiorep._training import (
    Objective,
    ProgressLine,
    resolve_precision,
    seeded,
    train,
    warm_up_cosine,
)


class Parabola(Objective):
    """Squared distance of a weight from what the batch says."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 1))

    def forward(self, target):
        return (self.weight - target).square().mean()


def forever(target):
    while True:
        yield (target,)


def test_finds_the_minimum():
    parabola, target = Parabola(), torch.tensor([[1.0], [2.0], [3.0]])
    history = train(parabola, forever(target), n_steps=300, learning_rate=0.1, weight_decay=0.0)
    assert history.keys() == {"loss", "learning_rate"}
    assert len(history["loss"]) == 300
    assert history["loss"][-1] < 1e-3
    assert not parabola.training


class Observed(Parabola):
    """Reports where the weight was when the loss was computed."""

    def forward(self, target):
        self.seen = self.weight.detach().mean().item()
        return super().forward(target)

    def diagnostics(self):
        return {"where": self.seen}


def test_history_holds_what_each_step_was_like():
    told = []
    history = train(
        Observed(),
        ((torch.full((3, 1), float(i)),) for i in range(8)),
        n_steps=8,
        learning_rate=0.1,
        weight_decay=0.0,
        progress=lambda step, n_steps, values: told.append((step, n_steps, values)),
    )
    assert history["learning_rate"] == [0.1 * warm_up_cosine(step, 8) for step in range(8)]
    expected = [(where - i) ** 2 for i, where in enumerate(history["where"])]
    assert history["loss"] == pytest.approx(expected, rel=1e-5)
    rows = [{name: values[i] for name, values in history.items()} for i in range(8)]
    assert told == [(i, 8, row) for i, row in enumerate(rows)]


@pytest.mark.parametrize("longest", [0.5, math.inf])
def test_long_gradients_are_shortened(longest):
    parabola, settings = Parabola(), {"n_steps": 1, "learning_rate": 0.1, "weight_decay": 0.0}
    train(parabola, forever(torch.full((3, 1), 9.0)), max_gradient_norm=longest, **settings)
    unshortened = 2 * 9 / math.sqrt(3)  # of the mean of three squares
    assert parabola.weight.grad.norm().item() == pytest.approx(min(longest, unshortened), rel=1e-4)


class Indifferent(Objective):
    """A matrix and a bias on which the loss does not depend."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, _):
        return 0.0 * sum(p.sum() for p in self.parameters())


def test_weight_decay_shrinks_matrices_and_leaves_biases():
    indifferent = Indifferent()
    weight, bias = (p.detach().clone() for p in indifferent.linear.parameters())
    train(indifferent, forever(torch.ones(1)), n_steps=5, learning_rate=0.1, weight_decay=0.4)
    factor = math.prod(1 - 0.4 * 0.1 * warm_up_cosine(step, 5) for step in range(5))
    torch.testing.assert_close(indifferent.linear.weight.detach(), factor * weight)
    assert torch.equal(indifferent.linear.bias, bias)


def test_a_diverging_loss_is_told():
    with pytest.raises(FloatingPointError, match=r"lower learning_rate=0\.1"):
        train(
            Parabola(),
            forever(torch.tensor([[torch.nan]])),
            n_steps=3,
            learning_rate=0.1,
            weight_decay=0.0,
        )


def test_weights_that_the_last_step_ruined_are_told():
    class Edge(Objective):
        """Has a loss that is finite, and a gradient that is not."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 1))

        def forward(self, x):
            return (self.weight * x).square().sum().sqrt()

    batches = forever(torch.ones(3, 1))
    with pytest.raises(FloatingPointError, match=r"after 1 steps; lower learning_rate=0\.1"):
        train(Edge(), batches, n_steps=1, learning_rate=0.1, weight_decay=0.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_process_that_was_forked_during_a_fit_can_fit():
    held, done = threading.Event(), threading.Event()

    def fit():
        with seeded(0, torch.device("cpu")):
            held.set()
            done.wait()

    thread = threading.Thread(target=fit)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python, for it has threads
        child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            with seeded(0, torch.device("cpu")):
                os._exit(0)
        finally:  # after an error: the child must not go on with the tests
            os._exit(1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_schedule_rises_then_falls():
    factors = [warm_up_cosine(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert all(a >= b for a, b in pairwise(factors[9:]))
    assert factors[-1] < 0.01


def test_seeded_blocks_are_alike_and_leave_no_trace():
    state = torch.random.get_rng_state()
    with seeded(7, torch.device("cpu")):
        first = torch.rand(3)
    with seeded(7, torch.device("cpu")):
        again = torch.rand(3)
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_on_the_processor_no_gpu_is_touched(monkeypatch):
    def touched():
        raise AssertionError("a GPU was asked for its state")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)
    with seeded(7, torch.device("cpu")):
        first = torch.rand(3)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        assert torch.rand(3).equal(first)


def test_threads_do_not_disturb_each_other():
    def draw(results, i):
        with seeded(7, torch.device("cpu")):
            results[i] = torch.stack([torch.rand(100) for _ in range(200)])

    results = {}
    threads = [threading.Thread(target=draw, args=(results, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(results[0], results[i]) for i in range(4))


def test_precision_is_taken_as_told():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == torch.float32
    assert resolve_precision("bfloat16", cpu) == torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)


INTEL = {"cpu_name": "Intel Xeon"}
AMD = {"cpu_name": "AMD EPYC 9R14"}


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        (INTEL | {"avx512_bf16": True, "amx_bf16": False}, False),
        (INTEL | {"avx512_bf16": True, "amx_bf16": True}, True),
        (INTEL | {"avx512_bf16": False, "amx_bf16": False}, False),
        (AMD | {"avx512_bf16": True, "amx_bf16": False}, True),
        (AMD | {"avx512_bf16": False, "amx_bf16": False}, False),
    ],
)
def test_automatic_precision_of_a_processor(monkeypatch, capabilities, fast):
    # Older builds of torch do not have it.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    expected = torch.bfloat16 if fast else torch.float32
    assert resolve_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize("vendor", ["AuthenticAMD", "GenuineIntel"])
@pytest.mark.parametrize("source", ["/proc/cpuinfo", "platform"])
def test_automatic_precision_where_torch_knows_little(monkeypatch, vendor, source):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(pathlib.Path, "exists", lambda self: source == "/proc/cpuinfo")
    listing = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: A Processor\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda self, errors: listing)
    monkeypatch.setattr("platform.processor", lambda: f"Family 25 Model 1, {vendor}")
    expected = torch.bfloat16 if vendor == "AuthenticAMD" else torch.float32
    assert resolve_precision("auto", torch.device("cpu")) == expected
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert resolve_precision("auto", torch.device("cpu")) == torch.bfloat16


VALUES = {"loss": 1.23456, "learning_rate": 0.5, "effective_rank": 23.456, "codes_in_use": 231.0}


def test_progress_beside_a_terminal_is_a_tenth_of_the_steps(capsys):
    line = ProgressLine("Learning")
    for step in range(100):
        line(step, 100, VALUES)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("Learning: step 100/100, 0 s, 0 s left, loss 1.235")
    assert lines[-1].endswith("effective rank 23.46, codes in use 231")


def test_progress_on_a_terminal_is_one_line_and_not_longer(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for columns in (200, 40):
        monkeypatch.setattr("shutil.get_terminal_size", lambda n=columns: os.terminal_size((n, 24)))
        line = ProgressLine("Learning")
        for step in range(100):
            line.shown = 0.0  # as if time had passed
            line(step, 100, VALUES)
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        assert shown.endswith("\n")
        lines = shown.rstrip("\n").split("\r\x1b[K")[1:]
        assert len(lines) == 100
        assert max(map(len, lines)) <= columns - 1
        assert ("codes in use" in lines[-1]) == (columns == 200)
