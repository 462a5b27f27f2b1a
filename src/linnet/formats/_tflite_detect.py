"""The end of TensorFlow's detectors in TFLite: boxes, classes, scores and how many there are."""

from __future__ import annotations

from ._flexbuffer import Number, numbers_of
from ._tflite_call import Call, Rule
from ._translator import Unsupported

_REAL = ("nms_score_threshold", "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale")
_WHOLE = ("max_detections", "max_classes_per_detection", "num_classes")


def _post_process(call: Call) -> None:
    """TFLite_Detection_PostProcess."""
    try:
        options = call.custom_options
        given = numbers_of(b"" if options is None else options.tobytes())
    except ValueError as error:
        raise Unsupported(str(error)) from None
    missing = [name for name in (*_WHOLE, *_REAL) if name not in given]
    if missing:
        raise Unsupported(f"its options lack {', '.join(missing)}")
    attrs: dict[str, Number] = {name: float(given[name]) for name in _REAL}
    attrs.update({name: int(given[name]) for name in _WHOLE})
    attrs["detections_per_class"] = int(given.get("detections_per_class", 100))
    attrs["use_regular_nms"] = int(given.get("use_regular_nms", 0))
    call.lite.emit("DetectionPostProcess", call.y[0], call.x, call.y, **attrs)


CUSTOM = {"TFLite_Detection_PostProcess": Rule(_post_process, (3, 3), (4, 4))}
