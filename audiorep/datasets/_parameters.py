"""Parameter checks: scikit-learn's ``validate_params``, with the signature kept for mypy."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.utils._param_validation import validate_params

Function = TypeVar("Function", bound=Callable[..., Any])


def check_parameters(constraints: dict[str, Any]) -> Callable[[Function], Function]:
    """Make a function check its arguments against `constraints` before it runs."""
    decorate = validate_params(constraints, prefer_skip_nested_validation=True)

    def decorate_typed(function: Function) -> Function:
        decorated: Function = decorate(function)
        return decorated

    return decorate_typed
