"""Every number that a benchmark writes into the README is the one that is stored."""

import re
from pathlib import Path

import numpy as np
import pytest

from audiorep import ContrastiveAudioEncoder
from audiorep._base import _FORMAT_VERSION

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "\nPLACE = Marked(" in path.read_text(encoding="utf-8")
)


def markers(readme):
    """Return every line of a README that begins or ends a part that a script writes."""
    return re.findall(r"<!-- .*: (?:begin|end) -->", readme.read_text(encoding="utf-8"))


def differs(script, readme):
    """Return whether a README has a script's part, and shows something else than is stored."""
    shown = script.PLACE.read(readme)
    return shown is not None and shown != script.render()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_readme_shows_what_is_stored(benchmark_script, name):
    script = benchmark_script(name)
    assert not differs(script, README), f"run python benchmarks/{name}.py --table"


def test_every_part_of_the_readme_is_written_by_a_script(benchmark_script):
    """Each part has one script, both its markers, in order, once."""
    found = markers(README)
    assert found
    places = [tuple(benchmark_script(name).PLACE) for name in SCRIPTS]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert set(pairs) <= set(places)
    assert len(set(pairs)) == len(pairs)


def test_a_changed_digit_is_noticed(benchmark_script, tmp_path):
    script = benchmark_script("linear_evaluation")
    readme = tmp_path / "README.md"
    readme.write_text("\n".join(script.PLACE))
    assert differs(script, readme)
    script.PLACE.write(readme, script.render())
    assert not differs(script, readme)
    text = readme.read_text()
    digit = re.search(r"\d", text).group()
    readme.write_text(text.replace(digit, str((int(digit) + 1) % 10), 1))
    assert differs(script, readme)


def test_the_readme_tells_how_many_features_there_are_and_the_format_of_saved_encoders():
    clips = np.random.default_rng(0).standard_normal((400, 400))
    n_features = ContrastiveAudioEncoder(n_epochs=0, width=4).fit_transform(clips).shape[1]
    text = README.read_text(encoding="utf-8")
    assert f"a vector of up to {n_features} features" in text
    assert f"float32, in {n_features} columns" in ContrastiveAudioEncoder.transform.__doc__
    assert f"Saved encoders (format {_FORMAT_VERSION})" in text
