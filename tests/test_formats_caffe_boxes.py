"""Boxes that a prototxt does not say everything about."""

from __future__ import annotations

import numpy as np
import pytest

import linnet

HIGH, WIDE = 64, 96  # the image
SETTINGS = {"a": ("min_size: [32, 64, 128]", 32), "b": ("min_size: 256", 64)}


def detector(settings: dict[str, tuple[str, int]], boxes: int) -> bytes:
    """Priors of maps of an image, and a code and two scores for each of some boxes as inputs."""
    text = f"""input: "x" input_shape {{ dim: 1 dim: 1 dim: {HIGH} dim: {WIDE} }}
        input: "loc" input_shape {{ dim: 1 dim: {4 * boxes} }}
        input: "conf" input_shape {{ dim: 1 dim: {2 * boxes} }}"""
    for name, (sizes, step) in settings.items():
        text += f"""layer {{ name: "{name}" type: "Pooling" bottom: "x" top: "{name}"
                pooling_param {{ kernel_size: {step} stride: {step} }} }}
            layer {{ name: "prior_{name}" type: "PriorBox" bottom: "{name}" bottom: "x"
                top: "prior_{name}" prior_box_param {{ {sizes} step: {step} offset: 0.5
                variance: [0.1, 0.1, 0.2, 0.2] }} }}"""
    bottoms = " ".join(f'bottom: "prior_{name}"' for name in settings)
    text += f"""layer {{ name: "prior" type: "Concat" {bottoms} top: "prior"
            concat_param {{ axis: 2 }} }}
        layer {{ name: "y" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior"
            top: "y" detection_output_param {{ num_classes: 2 code_type: CENTER_SIZE
            keep_top_k: {boxes} nms_param {{ nms_threshold: 1 }} }} }}"""
    return text.encode()


def corners(y: float, x: float, side: float) -> list[float]:
    half = (side - 1) / 2
    return [(x - half) / WIDE, (y - half) / HIGH, (x + half) / WIDE, (y + half) / HIGH]


def dense() -> np.ndarray:
    """As the loops of FaceBoxes make them: of a pixel of the first map 16, 4 and 1, of the second's
    1, all a pixel smaller than they say.
    """
    boxes = []
    for i, j in np.ndindex(2, 3):
        y, x = 32 * i + 16, 32 * j + 16
        boxes += [corners(y + 8 * a, x + 8 * b, 32) for a in range(-2, 2) for b in range(-2, 2)]
        boxes += [corners(y + 16 * a, x + 16 * b, 64) for a in (-1, 0) for b in (-1, 0)]
        boxes.append(corners(y, x, 128))
    boxes += [corners(32, 64 * j + 32, 256) for j in range(2)]
    return np.array(boxes)


def test_faceboxes_has_more_boxes_than_the_prototxt_says() -> None:
    expected = dense()
    count = len(expected)
    net = linnet.load(detector(SETTINGS, count))
    conf = np.zeros((1, count, 2), np.float32)
    conf[0, :, 1] = np.linspace(0.9, 0.1, count)  # in the order of the boxes
    x = np.zeros((1, 1, HIGH, WIDE), np.float32)
    feed = {"x": x, "loc": np.zeros((1, 4 * count), np.float32), "conf": conf.reshape(1, -1)}
    (rows,) = net.run(None, {v.name: feed[v.name] for v in net.inputs})
    assert rows.shape == (1, 1, count, 7)
    np.testing.assert_allclose(rows[0, 0, :, 2], conf[0, :, 1])
    np.testing.assert_allclose(rows[0, 0, :, 3:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "boxes", "priors"),
    [
        ("min_size: [32, 64, 128]", 120, 20),  # neither as many as SSD's nor FaceBoxes'
        ("min_size: [32, 64, 128] max_size: [40, 70, 140]", 128, 38),
        ("min_size: [32, 64, 128] aspect_ratio: 2", 128, 56),
        ("min_size: [32, 64]", 122, 14),  # that fork would write beyond the end
        ("min_size: [32, 64.5, 128]", 128, 20),
        ("min_size: [32, 64, inf]", 128, 20),
        ("min_size: [32, 32, 64]", 218, 20),
    ],
)
def test_other_numbers_of_boxes_are_refused(sizes: str, boxes: int, priors: int) -> None:
    model = detector({**SETTINGS, "a": (sizes, 32)}, boxes)
    with pytest.raises(ValueError, match=f"{4 * boxes} corners are not those of {priors} priors"):
        linnet.load(model)


def test_places_of_each_class_are_not_more_boxes() -> None:
    """Of 7 classes, each with its own, there are 21 codes a pixel, too."""
    model = detector({"a": SETTINGS["a"]}, 6 * 21)
    for old, new in (
        (b"num_classes: 2", b"num_classes: 7 share_location: false"),
        (b"dim: 252", b"dim: 126"),  # scores of 18 boxes
    ):
        assert old in model
        model = model.replace(old, new)
    (found,) = linnet.load(model).outputs
    assert found.shape == (1, 1, None, 7)


def test_settings_of_any_length_take_bounded_time() -> None:
    ratios = ", ".join(str(1 + i / 100_000) for i in range(20_000))
    with pytest.raises(ValueError, match="need too much memory"):
        linnet.load(detector({"a": (f"min_size: 2 aspect_ratio: [{ratios}]", 32)}, 4))
