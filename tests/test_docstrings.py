"""Every public name has a complete numpydoc docstring with an example."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

PACKAGES = [
    "audiorep",
    "audiorep.augmentations",
    "audiorep.augmentations.waveform",
    "audiorep.datasets",
    "audiorep.evaluation",
    "audiorep.nn",
]

# Not asked for: GL01 (text on the line after the quotes), ES01 (an extended summary), SA01 (a See
# Also section), SA04 (descriptions in it), EX01 (checked below, where there is something to show),
# RT02 (names of single returned values), YD01 (a Yields section is enough), GL08 (a method that
# has none, as those of torch and scikit-learn).
IGNORED = {"GL01", "ES01", "SA01", "SA04", "EX01", "RT02", "YD01", "GL08", "PR02", "RT03"}


PUBLIC_NAMES = [
    f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__
]


def resolve(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_docstring_is_complete(name):
    problems = [p for p in validate(name)["errors"] if p[0] not in IGNORED]
    assert not problems


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_docstring_has_an_example(name):
    thing = resolve(name)
    abstract = inspect.isclass(thing) and inspect.isabstract(thing)
    if name in ("audiorep.nn.WindowEncoder", "audiorep.nn.KeyValueCache"):
        return  # a base class, and a thing that only a transformer fills
    assert abstract or ">>>" in inspect.getdoc(thing), f"{name} has no example"


@pytest.mark.parametrize(
    "name",
    [
        "audiorep.ContrastiveAudioEncoder",
        "audiorep.VQTransformerEncoder",
        "audiorep.evaluation.SupervisedAudioClassifier",
    ],
)
def test_every_parameter_is_documented_with_its_default(name):
    encoder_class = resolve(name)
    text = inspect.getdoc(encoder_class)
    for parameter in inspect.signature(encoder_class).parameters.values():
        default = parameter.default
        shown = f'"{default}"' if isinstance(default, str) else str(default)
        entry = text.split(f"\n{parameter.name} : ")[1].split("\n")[0]
        stated = entry.split("default=")[1]
        if isinstance(default, float):
            assert float(stated) == default, parameter.name
        else:
            assert stated == shown, parameter.name
