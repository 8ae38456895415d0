"""A case as a few lines of Python that make the call again and print what it gives beside what is right."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from typing import Any

import numpy as np

from cylosses.losses import LOSSES
from tests.reference import BFLOAT16, ORACLE

from .calls import OUTPUTS, Case, Output, Place
from .checking import Mismatch
from .modes import words

NAMES = {"input": "x", "target": "t"}  # of variables; others have the name of the argument
FEW = 24


def name_of(role: str) -> str:
    return NAMES.get(role, role)


def dtype_text(dtype: np.dtype) -> str:
    return "ml_dtypes.bfloat16" if dtype == BFLOAT16 else f'"{dtype.name}"'


def number_text(number: Any) -> str:
    """A number that evaluates back; inf and nan are names."""
    return repr(
        number.item()
        if isinstance(number, np.generic) and number.dtype.kind in "biu"
        else number
        if isinstance(number, int)
        else float(number)
    )


def setting_text(case: Case) -> list[str]:
    """The parameter as a keyword argument; none for a loss without."""
    text = name_of("parameter") if "parameter" in case.operands else number_text(case.parameter)
    return [f"{name}={value}" for name, value in ORACLE[case.name].setting(text).items()]


def _nested(array: np.ndarray) -> str:
    return number_text(array[()]) if array.ndim == 0 else "[" + ", ".join(_nested(row) for row in array) + "]"


def array_lines(name: str, array: np.ndarray) -> list[str]:
    """Lines that make a C-contiguous array."""
    dtype = dtype_text(array.dtype)
    if array.size == 0:
        return [f"{name} = np.zeros({array.shape}, {dtype})"]
    if array.size > 1:
        texts = [number_text(number) for number in array.flat]
        (common, number), *_ = Counter(texts).most_common(1)
        lines = [f"{name} = np.full({array.shape}, {common}, {dtype})"]
        if number == array.size:
            return lines
        if array.size > FEW and array.size - number <= 8:
            for k, text in enumerate(texts):
                if text != common:
                    lines.append(f"{name}[{', '.join(str(j) for j in np.unravel_index(k, array.shape))}] = {text}")
            return lines
    if array.size <= FEW:
        return [f"{name} = np.array({_nested(array)}, {dtype})"]
    packed = base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()
    return [f"{name} = np.frombuffer(zlib.decompress(base64.b85decode({packed!r})), {dtype}).reshape({array.shape}).copy()"]


def place_text(place: Place) -> str:
    settings = {name: getattr(place, name) for name in Place.__dataclass_fields__}
    return "Place(" + ", ".join(f"{name}={value}" for name, value in settings.items() if value not in (None, 0, False)) + ")"


def _lay_out(case: Case) -> list[str]:
    """Lines that make all operands and outputs."""
    lines = []
    outputs: list[tuple[str, Output]] = [
        (name, output) for name, output in zip(OUTPUTS[case.quantity], case.outputs, strict=False) if output is not None
    ]
    for role, operand in case.operands.items():
        name = name_of(role)
        if operand.number:
            lines.append(f"{name} = {_nested(operand.values)}")
            continue
        array, place = operand.values, operand.place
        lines += array_lines(name, array)
        inside = [(out, output) for out, output in outputs if output.host == role]
        found, plain, fortran = (
            one.layout(array.shape, array.dtype.itemsize) for one in (place, Place(), Place(order=tuple(range(array.ndim))[::-1]))
        )
        if found == plain and not place.swapped and not inside:
            continue
        if found == fortran and not place.swapped and not inside:
            lines.append(f"{name} = np.asfortranarray({name})")
        else:
            sizes = [place.layout(array.shape, array.dtype.itemsize)[2]]
            sizes += [output.place.layout(case.shape_of(out), case.dtype.itemsize)[2] for out, output in inside]
            lines.append(f"{name}_memory = memory({max(sizes)})")
            lines.append(f"{name}_values, {name} = {name}, view({name}_memory, {array.shape}, {name}.dtype, {place_text(place)})")
            lines.append(f"{name}[...] = {name}_values")
    for out, output in outputs:
        shape, dtype = case.shape_of(out), f"np.dtype({dtype_text(case.dtype)})"
        host = f"{name_of(output.host)}_memory"
        if output.host is None:
            host = f"memory({output.place.layout(shape, case.dtype.itemsize)[2]})"
        lines.append(f"out_{out} = view({host}, {shape}, {dtype}, {place_text(output.place)})")
    return lines


def _stream_lines(case: Case, roles: list[str], options: list[str]) -> list[str]:
    stream, shape = case.stream, case.shape
    lines = [f"totals = {{k: loss.streaming({'' if case.axis is None else case.axis}) for k in {stream.merged}}}"]
    for begin, end, number in stream.pieces:
        parts = []
        for role in roles:
            whole = case.operands[role].values.shape
            cut = len(whole) == len(shape) > 0 and whole[0] == shape[0] and (begin, end) != (0, shape[0])
            parts.append(f"{role}={name_of(role)}" + (f"[{begin}:{end}]" if cut else ""))
        lines.append(f"totals[{number}].update({', '.join(parts + options)})")
    lines += [f"totals[{number}] = cylosses.StreamingLoss.from_bytes(totals[{number}].to_bytes())" for number in stream.stored]
    lines += [f"totals[{stream.merged[0]}].merge(totals[{other}])" for other in stream.merged[1:]]
    return [*lines, f"value = totals[{stream.merged[0]}].compute()"]


def _call_lines(case: Case) -> list[str]:
    options = [] if case.n_threads is None else [f"n_threads={case.n_threads}"]
    roles = [role for role in ("input", "target", "weight", "where") if role in case.operands]
    if case.quantity == "streaming":
        return _stream_lines(case, roles, options)
    options = [f"{role}={name_of(role)}" for role in roles[2:]] + options
    if case.axis is not None and case.quantity != "grad_and_hess":
        options.append(f"axis={case.axis}")
    if case.keepdims and case.quantity == "value":
        options.append("keepdims=True")
    if case.quantity == "grad" and case.wrt != "input":
        options.append(f'wrt="{case.wrt}"')
    if case.quantity == "grad_and_hess":
        options.append(f'curvature="{case.curvature}"')
    outs = [f"out_{name}" if output else "None" for name, output in zip(OUTPUTS[case.quantity], case.outputs, strict=False)]
    if any(case.outputs):
        options.append(f"out={outs[0]}" if len(outs) == 1 else f"out=({', '.join(outs)})")
    arguments = ["x", "t"]
    results = ", ".join(OUTPUTS[case.quantity])
    if case.function:
        settings = [f'"{case.reduction}"' if case.quantity == "grad" else f'reduction="{case.reduction}"', *setting_text(case)]
        if case.quantity == "grad":
            incoming = "grad_output" if "grad_output" in case.operands else "1.0"
            return [f"{results} = cylosses.{case.name}_loss_backward({', '.join([incoming, *arguments, *settings, *options])})"]
        return [f"{results} = cylosses.{case.name}_loss({', '.join([*arguments, *settings, *options])})"]
    if "grad_output" in case.operands:
        options.append("grad_output=grad_output")
    method = "" if case.quantity == "value" else f".{case.quantity}"
    return [f"{results} = loss{method}({', '.join([*arguments, *options])})"]


def snippet(case: Case, mismatch: Mismatch) -> str:
    """Python that runs in the root of the source tree."""
    body = _lay_out(case)
    if not case.function:
        arguments = ", ".join([f'reduction="{case.reduction}"', *setting_text(case)])
        body.append(f"loss = cylosses.{LOSSES[case.name].__name__}({arguments})")
    call = _call_lines(case)
    if case.mode:
        call = [f"with floating_point_mode({case.mode:#x}):  # {words(case.mode)}", *("    " + line for line in call)]
    if mismatch.what in OUTPUTS[case.quantity] and mismatch.at is not None:
        place = f"[{', '.join(map(str, mismatch.at))}]" if mismatch.at else ""
        shown = [f'print({mismatch.what}{place}, "should be", {number_text(mismatch.expected)})']
    else:
        shown = [f"print({', '.join(OUTPUTS[case.quantity])})"]
    text = "\n".join([*body, *call, *shown])
    head = ["import numpy as np", "import cylosses"]
    head += ["import base64, zlib"] if "zlib." in text else []
    head += ["import ml_dtypes"] if "ml_dtypes." in text else []
    head += ["from numpy import inf, nan"] if any(word in text for word in ("inf", "nan")) else []
    head += ["from tools.fuzz.calls import Place, memory, view"] if "memory(" in text else []
    head += ["from tools.fuzz.modes import floating_point_mode"] if case.mode else []
    return "\n".join([*head, text])
