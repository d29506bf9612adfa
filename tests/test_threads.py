"""Threads of numpy's matrix products: one inside a block, and as many as before behind it."""

import os
import re
import subprocess
import sys
import threading

import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

from audiorep._threads import on_threads, one_blas_thread


def n_blas_threads():
    found = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in found}


def in_a_block_that_fails(seen):
    with one_blas_thread():
        seen.append(n_blas_threads())
        raise KeyError


def test_there_is_one_inside_and_as_many_as_before_behind_even_after_an_error():
    seen = []
    with threadpool_limits(3, user_api="blas"):
        with pytest.raises(KeyError):
            in_a_block_that_fails(seen)
        seen.append(n_blas_threads())
    assert seen == [{1}, {3}]


def n_torch_threads(_=None):
    """Return the numbers of the calling thread: of OpenMP and, where torch has it, of MKL."""
    return re.findall(r"(?:omp|mkl)_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())


def test_a_thread_gets_its_numbers_of_openmp_and_mkl_and_others_keep_theirs():
    """Were it not for MKL's, threads side by side would have more of them than there are cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    found = []

    def work():
        found.extend([n_torch_threads(), on_threads(1, n_torch_threads, None), n_torch_threads()])

    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert [set(numbers) for numbers in found] == [{"3"}, {"1"}, {"3"}]
        assert set(n_torch_threads()) == {"3"}
    finally:
        torch.set_num_threads(before)


def test_of_blocks_that_overlap_the_first_puts_the_number_back():
    """In a process of its own: here, whoever set a number first might be the only one who may."""
    code = """
import threading
import numpy
from threadpoolctl import ThreadpoolController
from audiorep._threads import one_blas_thread

def n_threads():
    found = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in found}

def other():
    with one_blas_thread():
        entered.set()
        left.wait(60)

entered, left = threading.Event(), threading.Event()
thread = threading.Thread(target=other, daemon=True)
before = n_threads()
thread.start()
assert entered.wait(60)
with one_blas_thread():
    assert n_threads() == {1}, n_threads()
assert n_threads() == {1}, n_threads()
left.set()
thread.join()
assert n_threads() == before, n_threads()
"""
    # No more than the machine has cores: with a single one, there is nothing to put back.
    variables = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **variables})
