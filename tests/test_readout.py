import weakref
from itertools import pairwise

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from audiorep._readout import Changes, ReadOut, _between_neighbors


def pooled(n=200, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 30)) @ rng.normal(size=(30, 60)) * rng.uniform(0.01, 50, 60)
    return mixed.astype(np.float32)


@pytest.mark.parametrize("n_clips", [2, 20, 200])
def test_rows_have_the_stated_length(n_clips):
    x = pooled(n_clips)
    features = ReadOut().fit(x, [20, 40]).transform(x)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 16.0, rtol=1e-4)


def test_the_length_of_rows_can_be_chosen():
    x = pooled()
    short, default = (
        readout.fit(x).transform(x) for readout in (ReadOut(row_length=2.0), ReadOut())
    )
    np.testing.assert_allclose(8 * short, default, rtol=1e-5)


@pytest.mark.parametrize(("n_features", "expected"), [(7, 7), (512, 59)])
def test_axes_are_as_many_as_asked_for_or_as_there_can_be(n_features, expected):
    x = pooled()[:60]
    assert ReadOut(n_features).fit(x).transform(x).shape == (60, expected)


def test_the_lower_the_saturation_the_more_alike_are_axes():
    x = pooled(2000)
    strong_to_weak = []
    for saturation in (1e-7, 1 / 64, 1.0):
        rows = before_lengths(alone(saturation).fit(x), x)
        spread = rows.std(axis=0)
        strong_to_weak.append(spread[0] / spread[-1])
    assert strong_to_weak[0] == pytest.approx(1.0, rel=1e-2)
    assert strong_to_weak[0] < strong_to_weak[1] < strong_to_weak[2]


def test_variance_saturates_as_stated():
    x = pooled(2000)
    plain = before_lengths(alone(np.inf).fit(x), x).var(axis=0)
    share = plain / plain.sum()
    for saturation in (0.01, 0.2):
        found = before_lengths(alone(saturation).fit(x), x).var(axis=0)
        expected = share / (1 + share / saturation)
        np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-3)


def test_how_unusual_a_clip_is_does_not_matter():
    """Rows on one ray from the mean clip are the same; the mean clip itself is zero."""
    x = pooled()
    readout = ReadOut().fit(x)
    far = readout.mean + 10 * (x - readout.mean)
    np.testing.assert_allclose(readout.transform(far), readout.transform(x), atol=1e-3)
    mean = readout.transform(readout.mean[None])
    np.testing.assert_allclose(mean, 0.0, atol=1e-3)


def alone(saturation, **parameters):
    """A read-out that does nothing to directions but what saturation does, unless told."""
    return ReadOut(20, saturation, **{"neighbor_tolerance": np.inf, **parameters})


def before_lengths(readout, x):
    """What is projected before rows get one length."""
    return (x - readout.mean) * readout.factor @ readout.projection


def test_whitening_at_low_saturation_and_rotation_at_none():
    x = pooled()
    white = before_lengths(alone(1e-7).fit(x), x)
    covariance = np.cov(white.T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(20), atol=1e-2)
    readout = ReadOut(saturation=np.inf, neighbor_tolerance=np.inf).fit(x)
    rows = (x - readout.mean) * readout.factor
    rotated = before_lengths(readout, x)
    distance = np.linalg.norm(rows[0] - rows[1:], axis=1)
    moved = np.linalg.norm(rotated[0] - rotated[1:], axis=1)
    np.testing.assert_allclose(moved / distance, moved[0] / distance[0], rtol=1e-3)


def test_units_and_repeated_columns_of_a_block_do_not_matter():
    x = pooled()
    once = ReadOut(n_features=25).fit(x, [20, 40]).transform(x)
    louder = ReadOut(n_features=25).fit(x * 7 + 3, [20, 40]).transform(x * 7 + 3)
    twice = np.concatenate((x[:, :20], x[:, :20], x[:, 20:]), axis=1)
    repeated = ReadOut(n_features=25).fit(twice, [40, 40]).transform(twice)
    for other in (louder, repeated):
        np.testing.assert_allclose(once @ once.T, other @ other.T, rtol=1e-2, atol=0.1)


def test_a_row_does_not_depend_on_its_company():
    x = pooled(100)
    readout = ReadOut().fit(x)
    together = readout.transform(x)
    order = np.random.default_rng(1).permutation(100)
    assert np.array_equal(readout.transform(x[order]), together[order])
    assert np.array_equal(readout.transform(x[7:8]), together[7:8])


@pytest.mark.parametrize("n_clips", [5, 20])
def test_equal_clips_give_zeros(n_clips):
    x = np.ones((n_clips, 8), dtype=np.float32)
    readout = ReadOut().fit(x)
    assert readout.all_alike
    np.testing.assert_array_equal(readout.transform(x), 0)
    np.testing.assert_array_equal(readout.transform(x + 1), 0)


def test_clips_that_differ_by_rounding_have_no_direction():
    rng = np.random.default_rng(0)
    x = (1 + 1e-7 * rng.normal(size=(6, 200))).astype(np.float32)
    readout = ReadOut().fit(x, [100, 100])
    assert readout.all_alike
    assert not readout.transform(x).any()
    assert not ReadOut().fit(pooled(6), [20, 40]).all_alike
    assert not ReadOut(saturation=1e-7).fit(pooled(6), [20, 40]).all_alike


def test_a_block_counts_as_its_weight_says():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 60)).astype(np.float32)
    readout = ReadOut(saturation=np.inf).fit(x, [20, 40], [1.0, 3.0])
    rows = (x - readout.mean) * readout.factor
    first, second = (np.sqrt((part**2).sum(1).mean()) for part in (rows[:, :20], rows[:, 20:]))
    assert second / first == pytest.approx(3.0, rel=0.05)
    plain = ReadOut(saturation=np.inf).fit(x, [20, 40])
    np.testing.assert_allclose(readout.factor[20:], 3 * plain.factor[20:], rtol=1e-5)


def test_what_varies_less_than_the_rest_of_its_block_counts_less():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)).astype(np.float32) * np.array([1.0, 0.3, 0.01], np.float32)
    readout = ReadOut().fit(x)
    strong, weak, still = ((x - readout.mean) * readout.factor).std(axis=0)
    assert strong > weak > still
    assert weak / strong > 0.3 * 1.5  # but more than it did
    assert still / strong < 0.05


@pytest.mark.parametrize("size", [1e-7, 1e-6, 1e-5])
def test_a_block_of_rounding_noise_stays_small(size):
    rng = np.random.default_rng(0)
    noise = size * rng.normal(size=(500, 20))
    x = np.concatenate((rng.normal(size=(500, 20)), 1 + noise), axis=1).astype(np.float32)
    readout = ReadOut().fit(x, [20, 20])
    rows = (x - readout.mean) * readout.factor
    assert rows[:, 20:].std() < 0.05 * rows[:, :20].std()


@pytest.mark.parametrize("n_clips", [12, 70])
def test_rows_depend_neither_on_company_nor_on_threads(n_clips):
    statistics = np.random.default_rng(0).normal(size=(n_clips, 9000)).astype(np.float32)
    readout = ReadOut().fit(statistics)
    with threadpool_limits(1, user_api="blas"):
        rows = readout.transform(statistics)
    for n_threads in (2, 3, 8):
        with threadpool_limits(n_threads, user_api="blas"):
            np.testing.assert_array_equal(readout.transform(statistics), rows)
            np.testing.assert_array_equal(readout.transform(statistics[3:4]), rows[3:4])


def with_changes(changes=(), saturation=np.inf, **parameters):
    x = pooled(2000)
    return x, alone(saturation, **parameters).fit(x, changes=changes)


def directions(readout, n):
    """Directions in which clips move: `n` at random, in pooled statistics, all of one size."""
    return np.random.default_rng(1).normal(size=(n, 60)).astype(np.float32) / readout.factor


@pytest.mark.parametrize("saturation", [np.inf, 0.1])
def test_a_direction_in_which_clips_change_counts_as_stated(saturation):
    _, plain = with_changes(saturation=saturation)
    direction = directions(plain, 1)
    rows = np.linspace(-2, 2, 50, dtype=np.float32)[:, None] * direction
    tolerance = 1 / 5
    _, steady = with_changes([Changes(rows, 0.5)], saturation, tolerance=tolerance)

    def length(readout, moved):
        return np.linalg.norm(before_lengths(readout, readout.mean + moved))

    # The variance along all axes is one.
    average = 1 / plain.n_features_out
    mean_square = 0.5 * (before_lengths(plain, plain.mean + rows) ** 2).sum(1).mean() / average
    along = before_lengths(plain, plain.mean + direction)
    across = directions(plain, 2)[1:]
    across -= (before_lengths(plain, plain.mean + across) @ along.T) / (along @ along.T) * direction
    # All rows are scaled up alike afterwards, so that lengths are compared with each other.
    before = length(plain, direction) / length(plain, across)
    after = length(steady, direction) / length(steady, across)
    assert after / before == pytest.approx((1 + mean_square / tolerance) ** -0.5, rel=1e-3)
    assert after < before / 2


def test_axes_are_principal_axes_after_changes_too():
    x, plain = with_changes()
    x, steady = with_changes([Changes(directions(plain, 30), 1.0), Changes(0.1 * x[:9], 2.0)])
    covariance = np.cov(before_lengths(steady, x).T)
    variance = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variance), atol=1e-4)
    assert (np.diff(variance) < 0).all()
    assert variance.sum() == pytest.approx(1.0, rel=1e-3)
    assert plain.n_features_out == steady.n_features_out == 20


def test_changes_that_are_ignored_or_nothing_change_nothing():
    x, plain = with_changes()
    rows = directions(plain, 30)
    for changes, tolerance in (
        ([Changes(rows, 1.0)], np.inf),
        ([Changes(rows, 0.0)], 0.02),
        ([Changes(0 * rows, 1.0)], 0.02),
    ):
        _, other = with_changes(changes, tolerance=tolerance)
        np.testing.assert_array_equal(other.transform(x), plain.transform(x))
    _, other = with_changes([Changes(rows, 1.0)], tolerance=0.02)
    assert not np.allclose(other.transform(x), plain.transform(x), atol=0.1)


def test_one_kind_of_change_is_kept_at_a_time():
    """There may be a hundred megabytes of each."""
    _, plain = with_changes()
    alive, made = [], []

    def kinds():
        for _ in range(3):
            assert not [ref for ref in alive if ref() is not None]
            made.append(directions(plain, 5))
            alive.append(weakref.ref(made[0]))
            yield Changes(made.pop(), 1.0)

    with_changes(kinds())
    assert len(alive) == 3


def test_of_clips_that_are_alike_no_changes_are_asked_for():
    def kinds():
        raise AssertionError
        yield

    assert ReadOut().fit(np.ones((5, 8), np.float32), changes=kinds()).all_alike


def of_kinds(n_kinds=40, n_axes=12, copies=3):
    """Clips of several kinds, which differ within a kind along the last two axes alone."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(n_kinds, n_axes))
    x = np.repeat(kinds, copies, axis=0)
    x[:, -2:] += 0.3 * rng.normal(size=(len(x), 2))
    return x.astype(np.float32)


def shares(readout, x):
    """How much of the variance is along each column of what is pooled."""
    variance = (readout.projection**2).sum(1) * readout.factor**2 * x.var(axis=0)
    return variance / variance.sum()


def test_directions_in_which_neighbours_differ_count_for_less():
    x = of_kinds()
    before = shares(alone(np.inf).fit(x), x)
    after = [
        shares(ReadOut(saturation=np.inf, neighbor_tolerance=tolerance).fit(x), x)
        for tolerance in (10.0, 0.1)
    ]
    for less, more in pairwise([before, *after]):
        assert more[-2:].sum() < less[-2:].sum()
    assert after[-1][-2:].sum() < 0.2 * before[-2:].sum()


@pytest.mark.parametrize("n_features", [12, 30])
def test_neighbours_count_as_stated_after_all_else_was_weighed(n_features):
    x, rng = pooled(300), np.random.default_rng(1)
    rows = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 60)) * x.std(0)
    changes = [Changes(rows.astype(np.float32), 1.0)]
    usual, without = ReadOut(n_features), ReadOut(n_features, neighbor_tolerance=np.inf)
    before = before_lengths(without.fit(x, changes=changes), x)
    unit = before / np.linalg.norm(before, axis=1, keepdims=True)
    nearest = NearestNeighbors(n_neighbors=1).fit(unit).kneighbors()[1][:, 0]
    difference = unit - unit[nearest]
    multiples = difference.T @ difference * (n_features / (difference**2).sum())
    values, vectors = np.linalg.eigh(multiples)
    expected = before @ (vectors * (1 + values / usual.neighbor_tolerance) ** -0.5)
    expected /= np.sqrt((expected**2).sum(1).mean())
    found = before_lengths(usual.fit(x, changes=changes), x)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-2)
    assert np.abs(found @ found.T - before @ before.T).max() > 0.05
    assert (found**2).sum(1).mean() == pytest.approx(1.0, rel=1e-3)


def cosines(readout, x, changes=()):
    features = readout.fit(x, changes=changes).transform(pooled())
    return features @ features.T / readout.row_length**2


def test_copies_of_clips_are_no_neighbours():
    """They differ by rounding. With a copy of each clip, all is as it was."""
    x = pooled(100)
    changes = [Changes(directions(alone(np.inf).fit(x), 30), 0.1)]
    usual = cosines(ReadOut(), x, changes)
    copied = cosines(ReadOut(), np.vstack((x, x * np.float32(1 + 1e-7))), changes)
    np.testing.assert_allclose(copied, usual, atol=0.01)
    assert np.abs(cosines(alone(1 / 32), x, changes) - usual).max() > 0.05


@pytest.mark.parametrize("n_copied", [1, 50, 99])
def test_clips_without_a_copy_do_not_decide_alone(n_copied):
    rows = np.random.default_rng(0).normal(size=(100, 20))
    largest, with_copies = (
        np.linalg.eigvalsh(_between_neighbors(some))[-1]
        for some in (rows, np.vstack((rows, rows[:n_copied] * (1 + 1e-12))))
    )
    assert with_copies < 1.5 * largest < 0.5


def test_clips_next_to_the_mean_have_no_neighbour():
    """What is there differs by rounding, or nearly so, in directions that mean nothing."""
    x = pooled(100)
    still = x.mean(0) + 1e-5 * x.std(0) * np.random.default_rng(0).normal(size=(50, 60))
    in_two_ways = (
        cosines(ReadOut(), np.vstack((x, some)).astype(np.float32))
        for some in (still, np.repeat(x.mean(0)[None], 50, axis=0))
    )
    np.testing.assert_allclose(*in_two_ways, atol=0.01)


@pytest.mark.parametrize("n_clips", [2, 3])
def test_few_clips_have_features(n_clips):
    x = pooled(n_clips)
    features = ReadOut().fit(np.vstack((x, x))).transform(x)
    assert np.isfinite(features).all()
    assert np.linalg.norm(features[0] - features[1]) > 1.0


def test_a_neighbour_is_of_the_same_direction_however_unusual_it_is():
    """A clip and the unusual one beyond it are as good as copies, but for other clips' sake."""
    x = pooled()
    mean = ReadOut().fit(x).mean
    far = mean + 3 * (x - mean)
    readout = ReadOut(saturation=np.inf)
    np.testing.assert_allclose(
        cosines(readout, np.vstack((x, far))), cosines(readout, x), atol=1e-3
    )
