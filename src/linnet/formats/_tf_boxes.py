"""What TensorFlow's operators mean that choose among boxes, or take parts of images."""

from __future__ import annotations

from collections.abc import Callable

from ._tf_op import Step
from ._translator import MissingOperator, Unsupported


def _number(step: Step, index: int, what: str) -> float:
    value = step.constant(index, what)
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise Unsupported(f"its {what} is not a number")
    return float(value.item())


def _count(step: Step, index: int, what: str) -> int:
    return int(_number(step, index, what))


def _suppression(step: Step) -> None:
    """Places of boxes; how many is known only if there is room for a fixed number."""
    if not step.flag("pad_to_max_output_size"):
        raise MissingOperator(
            "how many boxes it finds depends on them, unless pad_to_max_output_size is set"
        )
    soft = step.op.kind == "NonMaxSuppressionV5"
    if soft and _number(step, 5, "soft_nms_sigma") != 0:
        raise Unsupported("soft_nms_sigma is not 0")
    places, *others = step.outputs
    outputs = [places, *others] if soft else [places, step.fresh("scores"), *others]
    step.reader.add(
        step.y,
        "PaddedNonMaxSuppression",
        step.inputs[:2],
        outputs,
        most=_count(step, 2, "max_output_size"),
        overlap=_number(step, 3, "iou_threshold"),
        score=_number(step, 4, "score_threshold"),
    )


def _combined(step: Step) -> None:
    step.reader.add(
        step.y,
        "CombinedNonMaxSuppression",
        step.inputs[:2],
        step.outputs,
        each=_count(step, 2, "max_output_size_per_class"),
        total=_count(step, 3, "max_total_size"),
        overlap=_number(step, 4, "iou_threshold"),
        score=_number(step, 5, "score_threshold"),
        pad_per_class=int(step.flag("pad_per_class")),
        clip_boxes=int(step.flag("clip_boxes", True)),
    )


def _crop_and_resize(step: Step) -> None:
    step.text("method", "bilinear", "bilinear")
    beyond, size = step.number("extrapolation_value", 0.0), step.ints(3, "crop_size")

    def rule(x: str, y: str) -> None:
        inputs = [x, step.input(1), step.input(2)]
        step.add("CropAndResize", inputs, y, size=size, extrapolation=beyond)

    step.between(rule, True)


RULES: dict[str, Callable[[Step], None]] = {
    "CombinedNonMaxSuppression": _combined,
    "CropAndResize": _crop_and_resize,
    **{f"NonMaxSuppression{version}": _suppression for version in ("", "V2", "V3", "V4", "V5")},
}
