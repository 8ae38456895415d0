"""`inspect.signature` of everything public is what is documented, and what the stubs say."""

from __future__ import annotations

import ast
import inspect

import pytest

import cylosses

from .test_public import CLASSES, FUNCTIONS, METHODS, descriptions

# What the calls of all losses have in common.
OPTIONS = "*, weight=None, where=None, axis=None, keepdims=False, out=None, n_threads=None"
BACKWARD_OPTIONS = "*, wrt='input', weight=None, where=None, axis=None, out=None, n_threads=None"
FLAGS = "size_average=None, reduce=None, reduction='mean'"

# From the design's contract. The rows of the losses are written from their sources, and compared with what is imported.
DOCUMENTED = {
    "default_floating_point_mode": "()",
    "set_num_threads": "(n)",
    "get_num_threads": "()",
    "show_versions": "()",
    "get_include": "()",
    "Loss": "(reduction, parameter=0.0)",
    "StreamingLoss": "(loss, axis=None)",
    # generated: signatures of the losses (python -m tools.generate)
    "smooth_l1_loss": f"(input, target, {FLAGS}, beta=1.0, options=None, {OPTIONS})",
    "l1_loss": f"(input, target, {FLAGS}, {OPTIONS})",
    "mse_loss": f"(input, target, {FLAGS}, {OPTIONS})",
    "huber_loss": f"(input, target, reduction='mean', delta=1.0, {OPTIONS})",
    "tukey_loss": f"(input, target, reduction='mean', c=4.685, {OPTIONS})",
    "quantile_loss": f"(input, target, reduction='mean', q=0.5, {OPTIONS})",
    "epsilon_insensitive_loss": f"(input, target, reduction='mean', epsilon=0.1, {OPTIONS})",
    "pseudo_huber_loss": f"(input, target, reduction='mean', delta=1.0, {OPTIONS})",
    "charbonnier_loss": f"(input, target, reduction='mean', eps=0.001, {OPTIONS})",
    "geman_mcclure_loss": f"(input, target, reduction='mean', c=1.0, {OPTIONS})",
    "smooth_l1_loss_backward": f"(grad_output, input, target, reduction='mean', beta=1.0, {BACKWARD_OPTIONS})",
    "l1_loss_backward": f"(grad_output, input, target, reduction='mean', {BACKWARD_OPTIONS})",
    "mse_loss_backward": f"(grad_output, input, target, reduction='mean', {BACKWARD_OPTIONS})",
    "huber_loss_backward": f"(grad_output, input, target, reduction='mean', delta=1.0, {BACKWARD_OPTIONS})",
    "tukey_loss_backward": f"(grad_output, input, target, reduction='mean', c=4.685, {BACKWARD_OPTIONS})",
    "quantile_loss_backward": f"(grad_output, input, target, reduction='mean', q=0.5, {BACKWARD_OPTIONS})",
    "epsilon_insensitive_loss_backward": f"(grad_output, input, target, reduction='mean', epsilon=0.1, {BACKWARD_OPTIONS})",
    "pseudo_huber_loss_backward": f"(grad_output, input, target, reduction='mean', delta=1.0, {BACKWARD_OPTIONS})",
    "charbonnier_loss_backward": f"(grad_output, input, target, reduction='mean', eps=0.001, {BACKWARD_OPTIONS})",
    "geman_mcclure_loss_backward": f"(grad_output, input, target, reduction='mean', c=1.0, {BACKWARD_OPTIONS})",
    "SmoothL1Loss": f"({FLAGS}, beta=1.0)",
    "L1Loss": f"({FLAGS})",
    "MSELoss": f"({FLAGS})",
    "HuberLoss": "(reduction='mean', delta=1.0)",
    "TukeyLoss": "(reduction='mean', c=4.685)",
    "QuantileLoss": "(reduction='mean', q=0.5)",
    "EpsilonInsensitiveLoss": "(reduction='mean', epsilon=0.1)",
    "PseudoHuberLoss": "(reduction='mean', delta=1.0)",
    "CharbonnierLoss": "(reduction='mean', eps=0.001)",
    "GemanMcClureLoss": "(reduction='mean', c=1.0)",
    # generated: end
}
# Of every loss class, and of StreamingLoss.
DOCUMENTED_METHODS = {
    "__call__": f"(self, input, target, {OPTIONS})",
    "grad": f"(self, input, target, *, grad_output=None, {BACKWARD_OPTIONS.removeprefix('*, ')})",
    "value_and_grad": "(self, input, target, *, weight=None, where=None, axis=None, out=None, n_threads=None)",
    "grad_and_hess": "(self, input, target, *, grad_output=None, curvature='exact', "
    "weight=None, where=None, out=None, n_threads=None)",
    "streaming": "(self, axis=None)",
    "weight_slope": "(self, squares)",
    "check_one_parameter": "(self)",
    "update": "(self, input, target, weight=None, where=None, *, n_threads=None)",
    "merge": "(self, other)",
    "compute": "(self)",
    "exact": "(self)",
    "reset": "(self)",
    "to_bytes": "(self)",
    "from_bytes": "(data)",
}


def plain(signature):
    """A signature without its types."""
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def plain_stub(node):
    """The same of a function in a stub."""
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    return f"({ast.unparse(arguments)})"


STUBS: dict[str, list[ast.FunctionDef]] = {}
for described in descriptions():
    if described.name in FUNCTIONS:
        STUBS.setdefault(described.name, []).append(described)


def test_everything_public_is_documented():
    assert set(DOCUMENTED) == {*FUNCTIONS, *CLASSES}
    assert set(DOCUMENTED_METHODS) == {name.partition(".")[2] for name in METHODS}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_signature_of_a_function_or_class(name):
    assert plain(inspect.signature(getattr(cylosses, name))) == DOCUMENTED[name]


@pytest.mark.parametrize("name", METHODS)
def test_signature_of_a_method(name):
    assert plain(inspect.signature(METHODS[name])) == DOCUMENTED_METHODS[name.partition(".")[2]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_stub_of_a_function_has_its_signature(name):
    """Names, kinds and defaults; of overloads, it is the first that has all of them."""
    assert plain_stub(STUBS[name][0]) == DOCUMENTED[name]


@pytest.mark.parametrize("name", [name for name, nodes in STUBS.items() if len(nodes) > 1])
def test_further_overloads_take_nothing_that_the_function_does_not(name):
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    for node in STUBS[name][1:]:
        names = [argument.arg for argument in node.args.args]
        assert names == positional[: len(names)]
        assert {argument.arg for argument in node.args.kwonlyargs} <= set(parameters) - set(names)


def test_nothing_that_is_called_hides_its_signature():
    """No *args or **kwargs, which would tell a reader nothing."""
    for item in (*FUNCTIONS.values(), *CLASSES.values(), *METHODS.values()):
        kinds = {parameter.kind for parameter in inspect.signature(item).parameters.values()}
        assert kinds.isdisjoint({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})
