"""Write what OpenCV's dnn module makes of pictures, boxes and networks: cv2dnn.npz.

    OPENCV_PYTHON tests/data/make_cv2dnn.py

OPENCV_PYTHON is a Python with opencv-python-headless 4, `pip install 'opencv-python-headless<5'`.
"""

import json
from pathlib import Path

import cv2
import numpy as np

DATA = Path(__file__).parent
RANDOM = np.random.RandomState(1)
PICTURES = {
    "colour": RANDOM.randint(0, 256, (13, 17, 3)).astype(np.uint8),
    "grey": RANDOM.randint(0, 256, (13, 17)).astype(np.uint8),
    "alpha": RANDOM.randint(0, 256, (9, 8, 4)).astype(np.uint8),
    "floats": (RANDOM.rand(13, 17, 3) * 9).astype(np.float32),
}
HOW = [
    {},
    {"scalefactor": 0.017, "size": (9, 7), "mean": (103.9, 116.8, 123.7), "swapRB": True},
    {"size": (18, 16), "mean": (104, 177, 123)},
    {"scalefactor": 1 / 127.5, "size": (9, 9), "mean": 127.5, "swapRB": True},
    {"size": (9, 5), "mean": (1, 2, 3, 4), "swapRB": True, "crop": True},
    {"size": (7, 18), "crop": True},
]
NETWORK = """name: "t" input: "x" input_shape { dim: 1 dim: 3 dim: 4 dim: 5 }
input: "z" input_shape { dim: 1 dim: 3 dim: 4 dim: 5 }
layer { name: "parts" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 1 } }
layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
layer { name: "drop" type: "Dropout" bottom: "b" top: "b" }
layer { name: "power" type: "Power" bottom: "b" top: "b" power_param { shift: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "z" top: "both" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "a" top: "s" }
layer { name: "drop2" type: "Dropout" bottom: "s" top: "s" }
"""


SSD = """name: "ssd" input: "loc" input_shape {{ dim: 2 dim: {loc} }}
input: "conf" input_shape {{ dim: 2 dim: 400 }}
input: "cells" input_shape {{ dim: 2 dim: 1 dim: 4 dim: 5 }}
input: "image" input_shape {{ dim: 2 dim: 3 dim: 40 dim: 60 }}
layer {{ name: "priors" type: "PriorBox" bottom: "cells" bottom: "image" top: "priors"
  prior_box_param {{ min_size: 12 max_size: 20 aspect_ratio: 2 flip: true clip: false
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }} }}
layer {{ name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors"
  top: "found" detection_output_param {{ num_classes: 5 {how} }} }}
"""
ENDS = {
    "usual": "share_location: true background_label_id: 0 code_type: CENTER_SIZE "
    "nms_param { nms_threshold: 0.45 top_k: 40 } keep_top_k: 50 confidence_threshold: 0.3",
    "few": "share_location: true background_label_id: 3 code_type: CENTER_SIZE "
    "nms_param { nms_threshold: 0.3 top_k: 10 } keep_top_k: 7 confidence_threshold: 0.01",
    "own": "share_location: false background_label_id: -1 code_type: CORNER "
    "nms_param { nms_threshold: 0.6 } keep_top_k: 30 confidence_threshold: 0.5",
    "none": "share_location: true background_label_id: 0 code_type: CENTER_SIZE "
    "nms_param { nms_threshold: 0.5 } keep_top_k: 5 confidence_threshold: 1",
}


def detectors():
    """(text, inputs, what OpenCV finds) of ends of an SSD."""
    for name, how in ENDS.items():
        count = 1600 if name == "own" else 320
        text = SSD.format(loc=count, how=how)
        scores = np.exp(2 * RANDOM.randn(2, 80, 5))
        feed = {
            "loc": RANDOM.randn(2, count).astype(np.float32),
            "conf": (scores / scores.sum(2, keepdims=True)).reshape(2, 400).astype(np.float32),
        }
        net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
        net.setInput(np.zeros((2, 1, 4, 5), np.float32), "cells")
        net.setInput(np.zeros((2, 3, 40, 60), np.float32), "image")
        for key, array in feed.items():
            net.setInput(array, key)
        yield text, feed, net.forward()


def boxes():
    """Arguments of NMSBoxes: whole numbers and others, equal scores, boxes without area."""
    for index in range(24):
        count = RANDOM.randint(0, 25)
        found = (RANDOM.rand(count, 4) * 20).round(index % 2)
        if index % 5 == 0:
            found[:3, 2:] = 0
        scores = RANDOM.rand(count).round(1)
        how = [float(RANDOM.choice([0, 0.3, 0.5])), float(RANDOM.choice([0, 0.2, 0.4, 0.7, 1]))]
        how += [[1.0, 0.8, 0.5][index % 3], [0, 0, 3][index % 3 - 1]]
        yield found.tolist(), scores.tolist(), how


def main():
    arrays, notes = dict(PICTURES), {"opencv": cv2.__version__, "blobs": [], "boxes": []}
    for name, picture in PICTURES.items():
        for how in HOW:
            arrays[f"blob{len(notes['blobs'])}"] = cv2.dnn.blobFromImage(picture, **how)
            notes["blobs"].append([name, how])
    how = {"size": (6, 6), "swapRB": True, "ddepth": cv2.CV_8U}
    arrays[f"blob{len(notes['blobs'])}"] = cv2.dnn.blobFromImage(PICTURES["colour"], **how)
    notes["blobs"].append(["colour", how])
    for found, scores, how in boxes():
        kept = np.array(cv2.dnn.NMSBoxes(found, scores, *how)).tolist()
        notes["boxes"].append([found, scores, how, kept])

    net = cv2.dnn.readNetFromCaffe(np.frombuffer(NETWORK.encode(), np.uint8))
    x, z = (RANDOM.randn(2, 3, 4, 5).astype(np.float32) for _ in "xz")

    def given():  # anew for every forward(): OpenCV scales what it has scaled before
        net.setInput(x)
        net.setInput(z, "z", 0.5, (1, 2, 3))
        return net

    arrays.update(x=x, z=z, last=given().forward())
    for name in net.getLayerNames():
        arrays[f"of_{name}"] = given().forward(name)
    arrays["second"] = given().forwardAndRetrieve(["parts"])[0][1]
    notes["network"] = {
        "text": NETWORK,
        "names": net.getLayerNames(),
        "last": net.getUnconnectedOutLayersNames(),
        "numbers": net.getUnconnectedOutLayers().tolist(),
        "types": [net.getLayer(name).type for name in net.getLayerNames()],
    }
    notes["detectors"] = []
    for index, (text, feed, found) in enumerate(detectors()):
        notes["detectors"].append(text)
        arrays.update(
            {f"{key}{index}": array for key, array in feed.items()}, **{f"found{index}": found}
        )
    notes["classes"] = []
    for found, scores, how, _ in notes["boxes"]:
        classes = RANDOM.randint(0, 3, len(scores)).tolist()
        kept = np.array(cv2.dnn.NMSBoxesBatched(found, scores, classes, *how)).tolist()
        notes["classes"].append([classes, kept])
    arrays["notes"] = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    np.savez_compressed(DATA / "cv2dnn.npz", **arrays)


if __name__ == "__main__":
    main()
