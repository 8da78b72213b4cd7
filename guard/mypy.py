"""A plug-in of mypy for decorated functions. `plugins = ["guard.mypy"]` among mypy's settings.

A function under `guard.structured` is a docstring; what it returns a model writes. mypy reports such a body as a
missing return statement (`empty-body`), whatever stands above the function. With this it does not, for these functions
and no others. pyright has no plug-ins: it takes a body of a docstring and `...`.

Of a method, mypy does not see whether its first parameter is an object, a class, or an input; with this it does.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.errorcodes import EMPTY_BODY
from mypy.nodes import Decorator
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.subtypes import is_subtype
from mypy.types import Instance, NoneType, Parameters, Type, TypeType, get_proper_type

#: What mypy calls the two ways to write the decorator: `@structured` and `@structured(...)`.
_BARE, _WITH_SETTINGS = "guard.calls.decorator.structured", "guard.calls.decorator.Decorator.__call__"
#: What it calls the access to a method.
_ACCESS = frozenset(
    f"guard.calls.decorator.{kind}.__get__" for kind in ("Structured", "AsyncStructured", "Streamed", "AsyncStreamed")
)


class GuardPlugin(Plugin):
    """Lets functions under `guard.structured` do without a body."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Name what is done where the decorator is bare."""
        return _forgiven if fullname == _BARE else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Name what is done where the decorator has settings, and where a method is accessed."""
        if fullname in _ACCESS:
            return _bound
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


def _bound(context: MethodContext) -> Type:
    """Return a decorated function as an object or a class has it: without the parameter that this fills."""
    function = get_proper_type(context.type)
    taken = get_proper_type(function.args[0]) if isinstance(function, Instance) else None
    if not isinstance(function, Instance) or not isinstance(taken, Parameters) or not taken.arg_types:
        return context.default_return_type
    first, holder = get_proper_type(taken.arg_types[0]), get_proper_type(context.arg_types[0][0])
    is_of_object = not isinstance(holder, NoneType) and is_subtype(holder, first)
    if not (is_of_object or isinstance(first, TypeType)):
        return function
    names, kinds, types = taken.arg_names[1:], taken.arg_kinds[1:], taken.arg_types[1:]
    left = taken.copy_modified(arg_names=names, arg_kinds=kinds, arg_types=types)
    return function.copy_modified(args=[left, *function.args[1:]])
