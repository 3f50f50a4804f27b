"""The package's annotations, checked at run time: every call of a function or dataclass, shapes included.

``jaxtyping.jaxtyped`` binds every call's arguments and checks them twice for the sake of its messages, which took a
third of the suite's time.
"""

import dataclasses
import functools
import inspect

import jaxtyping
from beartype import BeartypeConf, beartype

in_one_context = jaxtyping.jaxtyped
# An int is a float, as type checkers have it.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install(package):
    """Check what is imported of a package from now on."""
    jaxtyping.jaxtyped = decorate  # the hook's decorator
    jaxtyping.install_import_hook(package, "annotations.checked")


def decorate(target=None, *, typechecker):
    """Names of axes hold within one call: ``jaxtyping.jaxtyped`` as the import hook uses it."""
    if target is None:
        return functools.partial(decorate, typechecker=typechecker)
    if inspect.isclass(target):
        if dataclasses.is_dataclass(target) and "__init__" in vars(target):
            target.__init__ = decorate(target.__init__, typechecker=typechecker)
        return target
    function = typechecker(target)
    if "jaxtyping" not in repr(target.__annotations__):
        return function

    @functools.wraps(target)
    def call(*args, **kwargs):
        with in_one_context("context"):
            return function(*args, **kwargs)

    return call
