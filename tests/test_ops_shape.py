"""Shapes, and what is made of them: filled weights, sizes that a model leaves open."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from onnx_models import agree, model, onnx, runtime

import linnet
from linnet import machine

F4, I8 = np.float32, np.int64
RANDOM = np.random.default_rng(11)
SHAPE = (2, 3, 7, 5)


def saved(proto, folder):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def filled(*shape, value=0.25):
    """A convolution, and after it a fully connected layer, whose weights are filled."""
    number = onnx.numpy_helper.from_array(np.array([value], F4))
    nodes = [
        ("ConstantOfShape", "s", "w", {"value": number}),
        ("ConstantOfShape", "n", "b", {"value": number}),
        ("Conv", "x,w,b", "c", {}),
        ("ConstantOfShape", "t", "m", {"value": number}),
        ("Flatten", "c", "f", {}),
        ("Gemm", "f,m", "y", {"alpha": 0.5}),
    ]
    columns = shape[0] * (SHAPE[2] - shape[2] + 1) * (SHAPE[3] - shape[3] + 1)
    return model(nodes, {"s": I8(shape), "n": I8(shape[:1]), "t": I8([columns, 9])}, SHAPE)


@pytest.mark.parametrize("ratio", [[], ["r"], ["", "no"], ["none", "yes"]])
def test_dropout_keeps_all(ratio, tmp_path):
    constants = {"r": F4(0.5), "none": F4(0), "no": np.bool_(False), "yes": np.bool_(True)}
    nodes = [
        ("Dropout", ",".join(["x", *ratio]), "d,m", {}),
        ("Cast", "m", "c", {"to": onnx.TensorProto.FLOAT}),
        ("Add", "d,c", "y", {}),
    ]
    agree(model(nodes, constants, SHAPE), tmp_path, SHAPE)


@pytest.mark.parametrize("ratio", ["", "half", "x"])
def test_dropout_of_training_is_refused(ratio, tmp_path):
    constants = {"half": F4(0.5), "yes": np.bool_(True)}
    path = saved(model([("Dropout", f"x,{ratio},yes", "y", {})], constants, SHAPE), tmp_path)
    with pytest.raises(ValueError, match="training_mode"):
        linnet.load(path)


def test_weights_that_are_filled(tmp_path):
    agree(filled(6, 3, 3, 2), tmp_path, SHAPE)


def test_filled_weights_may_be_larger_than_the_file(tmp_path):
    path = saved(filled(4000, 3, 7, 5), tmp_path)  # of 420,000 weights and 36,000
    assert path.stat().st_size < 1000
    x = RANDOM.standard_normal(SHAPE).astype(F4)
    each = 0.25 * x.sum((1, 2, 3), dtype=np.float64) + 0.25
    np.testing.assert_allclose(
        linnet.load(path)(x), np.repeat(each[:, None] * 500, 9, 1), rtol=1e-4, atol=1e-2
    )
    with pytest.raises(ValueError, match=r"\(Conv\): with its constant 'w'.*memory_limit"):
        linnet.load(path, memory_limit="1M")


@pytest.mark.parametrize("shape", [(1 << 24, 3, 7, 5), (1 << 40, 3, 7, 5), (1 << 62, 3, 7, 5)])
def test_filled_weights_beyond_memory_are_refused(shape, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 64 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"'w'|\(ConstantOfShape\)"):
            linnet.load(saved(filled(*shape), tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


def test_memory_available_is_that_of_the_least_cgroup(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n",
        "/proc/self/cgroup": "3:cpu,memory:/a\n0::/b/c\n",
        "/sys/fs/cgroup/b/memory.max": "4000000\n",
        "/sys/fs/cgroup/b/memory.current": "1000000\n",
        "/sys/fs/cgroup/b/c/memory.max": "max\n",
        "/sys/fs/cgroup/b/c/memory.current": "500000\n",
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000000\n",
        "/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "100000\n",
    }
    monkeypatch.setattr(machine, "read", lambda path: files.get(str(path), ""))
    assert machine.available_memory() == 2_900_000
    del files["/sys/fs/cgroup/memory/a/memory.limit_in_bytes"]
    assert machine.available_memory() == 3_000_000
    files["/proc/self/cgroup"] = ""
    assert machine.available_memory() == 5000 << 10


WEIGHT = {"w": RANDOM.standard_normal((4, 3, 1, 1)).astype(F4)}
TRANSPOSED = RANDOM.standard_normal((4, 3, 3, 2)).astype(F4)
STRIDES = {"strides": [3, 2], "pads": [1, 0, 1, 1]}
OPEN = {
    "transposed convolution": ([("ConvTranspose", "c,k", "y", STRIDES)], {"k": TRANSPOSED}),
    "transposed convolution of groups": (
        [("ConvTranspose", "c,k", "y", {**STRIDES, "group": 2})],
        {"k": TRANSPOSED},
    ),
    "one channel last": (
        [
            ("ReduceMean", "c,one", "m", {}),
            ("Transpose", "m", "t", {"perm": [0, 2, 3, 1]}),
            ("Reshape", "t,n", "y", {}),
        ],
        {"one": I8([1]), "n": I8([0, -1, 1])},
    ),
    "slices from both ends": (
        [("Slice", "c,s,e,a", "y", {})],
        {"s": I8([1, -4]), "e": I8([1 << 40, -1]), "a": I8([2, 3])},
    ),
    "every other pixel": (
        [("Slice", "c,s,e,a,t", "d", {}), ("Relu", "d", "y", {})],
        {"s": I8([1]), "e": I8([(1 << 63) - 1]), "a": I8([3]), "t": I8([2])},
    ),
    "rows below each other": (
        [("Identity", "c", "d", {}), ("Concat", "c,d", "y", {"axis": 2})],
        {},
    ),
    "columns beside each other": (
        [("Identity", "c", "d", {}), ("Concat", "c,d", "y", {"axis": 3})],
        {},
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_sizes_left_open(case, tmp_path):
    nodes, constants = OPEN[case]
    nodes = [("Conv", "x,w", "c", {}), *nodes]
    proto = model(nodes, {**WEIGHT, **constants}, ("N", 3, "H", "W"))
    path = saved(proto, tmp_path)
    net = linnet.load(path)
    linnet.convert(path, None, tmp_path / "again.onnx")
    again = linnet.load(tmp_path / "again.onnx")
    theirs = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((7, 5), (8, 12), (5, 5)):
        x = RANDOM.standard_normal((2, 3, *size)).astype(F4)
        (wanted,) = theirs.run(None, {"x": x})
        for y in (net(x), again(x)):
            assert y.shape == wanted.shape
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
