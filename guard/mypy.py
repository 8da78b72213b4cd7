"""A plug-in of mypy: a decorated function needs no body. `plugins = ["guard.mypy"]` among mypy's settings.

A function under `guard.structured` is a docstring; what it returns a model writes. mypy reports such a body as a
missing return statement (`empty-body`), whatever stands above the function. With this it does not, for these functions
and no others. pyright has no plug-ins: it takes a body of a docstring and `...`.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.errorcodes import EMPTY_BODY
from mypy.nodes import Decorator
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import Type

#: What mypy calls the two ways to write the decorator: `@structured` and `@structured(...)`.
_BARE, _WITH_SETTINGS = "guard.calls.decorator.structured", "guard.calls.decorator.Decorator.__call__"


class GuardPlugin(Plugin):
    """Lets functions under `guard.structured` do without a body."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Name what is done where the decorator is bare."""
        return _forgiven if fullname == _BARE else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Name what is done where the decorator has settings."""
        return _forgiven if fullname == _WITH_SETTINGS else None


def plugin(version: str) -> type[Plugin]:  # noqa: ARG001 (mypy gives its version)
    """Return the plug-in; mypy calls this."""
    return GuardPlugin


def _forgiven(context: FunctionContext | MethodContext) -> Type:
    """Let a decorated function do without a body."""
    decorated = context.context
    if isinstance(decorated, Decorator):
        # Functions under `if TYPE_CHECKING:` need no body either. mypy 2 looks at decorators first, then at bodies.
        decorated.func.is_mypy_only = True
        # mypy 1 has reported the body by now.
        errors = context.api.msg.errors
        reported = errors.error_info_map.get(errors.file, [])
        reported[:] = [e for e in reported if e.code is not EMPTY_BODY or e.line != decorated.func.line]
    return context.default_return_type
