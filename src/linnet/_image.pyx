# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pixels to tensors: resize, channel order, normalisation and the change of layout in one pass."""

from libc.math cimport floor
from libcpp.vector cimport vector

# Luma of ITU-R BT.601, as Pillow and OpenCV compute grey.
cdef float RED = 0.299, GREEN = 0.587, BLUE = 0.114

cdef struct Tap:
    Py_ssize_t first, second
    float weight  # of the second


cdef vector[Tap] taps(Py_ssize_t size, Py_ssize_t target):
    """For each of `target` samples, the two of `size` samples it lies between."""
    cdef vector[Tap] result
    cdef Tap tap
    cdef double at
    cdef Py_ssize_t i
    for i in range(target):
        at = min(max((i + 0.5) * size / target - 0.5, 0.0), size - 1.0)
        tap.first = <Py_ssize_t>floor(at)
        tap.second = min(tap.first + 1, size - 1)
        tap.weight = <float>(at - tap.first)
        result.push_back(tap)
    return result


cdef inline float sample(const unsigned char[:, :, :] image, Py_ssize_t y, Py_ssize_t x, int channel) noexcept nogil:
    if channel >= 0:
        return image[y, x, channel]
    return RED * image[y, x, 0] + GREEN * image[y, x, 1] + BLUE * image[y, x, 2]


cdef void fill_plane(
    const unsigned char[:, :, :] image, float[:, :] out, int channel, float mean, float scale,
    const vector[Tap]& rows, const vector[Tap]& columns,
) noexcept nogil:
    cdef Py_ssize_t y, x
    cdef Tap row, column
    cdef float top, bottom
    for y in range(out.shape[0]):
        row = rows[y]
        for x in range(out.shape[1]):
            column = columns[x]
            top = sample(image, row.first, column.first, channel)
            top += (sample(image, row.first, column.second, channel) - top) * column.weight
            bottom = sample(image, row.second, column.first, channel)
            bottom += (sample(image, row.second, column.second, channel) - bottom) * column.weight
            out[y, x] = (top + (bottom - top) * row.weight - mean) * scale


def prepare(image, out, *, str order="RGB", mean=(0.0,), float scale=1.0):
    """Write `image` into `out`, one row of a batch, as (pixel - mean) * scale.

    image: uint8, [H, W] or [H, W, 1] grey or [H, W, 3] RGB. out: float32 [C, h, w], any strides. order: the planes of
    `out`, "RGB", "BGR" or "grey"; grey from colour is ITU-R BT.601 luma, colour from grey repeats it. mean: one number,
    or one for each plane, in the order of the planes. Where the sizes differ the image is resized bilinearly with
    half-pixel centres and edges repeated, without antialiasing: OpenCV's INTER_LINEAR, ONNX's half_pixel. ValueError
    for other shapes, types or orders. The GIL is released.
    """
    planes = {"RGB": (0, 1, 2), "BGR": (2, 1, 0), "grey": (-1,)}.get(order)
    if planes is None:
        raise ValueError(f"channel order {order[:20]!r}, expected 'RGB', 'BGR' or 'grey'")
    if image.dtype != "uint8" or image.ndim not in (2, 3):
        raise ValueError(f"image is {image.dtype} of shape {image.shape}, expected uint8 [H, W] or [H, W, C]")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"image has shape {image.shape}, expected [H, W, 1] or [H, W, 3]")
    if out.dtype != "float32" or out.ndim != 3 or len(out) != len(planes) or 0 in out.shape:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}, expected float32 [{len(planes)}, h, w] for {order}")
    means = tuple(mean) * len(planes) if len(mean) == 1 else tuple(mean)
    if len(means) != len(planes):
        raise ValueError(f"{len(means)} means for {len(planes)} planes")

    cdef const unsigned char[:, :, :] source = image
    cdef float[:, :, :] target = out
    cdef vector[int] channels = planes if source.shape[2] == 3 else (0,) * len(planes)
    cdef vector[float] subtract = means
    cdef vector[Tap] rows = taps(source.shape[0], target.shape[1])
    cdef vector[Tap] columns = taps(source.shape[1], target.shape[2])
    cdef Py_ssize_t plane
    with nogil:
        for plane in range(target.shape[0]):
            fill_plane(source, target[plane], channels[plane], subtract[plane], scale, rows, columns)
