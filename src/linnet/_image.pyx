# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pixels to tensors: other sizes, planes, normalisation and layout in one pass over the rows of the result.

There are two ways to another size. Linear, as OpenCV's INTER_LINEAR, to the byte: the two nearest samples along each
axis, whatever the sizes, in fixed point of 11 bits. Antialiased, as Pillow's BILINEAR: a triangle as wide as two samples
of the coarser grid, in fixed point of 22 bits, rounded to bytes after each axis, across first; Pillow since 12 may begin
with the other one, which makes a difference of one grey level.
"""

from libc.math cimport fabs, floor, rint
from libcpp.vector cimport vector

# Luma of ITU-R BT.601, as Pillow and OpenCV compute grey.
cdef float RED = 0.299, GREEN = 0.587, BLUE = 0.114

cdef int LINEAR_BITS = 11, ANTIALIASED_BITS = 22
cdef int HALF = 1 << (ANTIALIASED_BITS - 1)

ctypedef fused Pixel:
    unsigned char
    float

ctypedef fused Line:  # a row of the image, resampled
    int
    float


cdef class Axis:
    """The samples that each sample of the result is a weighted sum of: `taps` of them for every one."""

    cdef Py_ssize_t taps
    cdef vector[Py_ssize_t] index
    cdef vector[int] fixed
    cdef vector[float] weight


cdef Axis linear(Py_ssize_t size, Py_ssize_t begin, Py_ssize_t count, double step, bint repeat):
    """repeat: beyond the ends there is one sample, else two that are the same, which rounds in another way."""
    cdef Axis axis = Axis()
    cdef Py_ssize_t i, before
    cdef float at, part
    axis.taps = 2
    for i in range(begin, begin + count):
        at = <float>((i + 0.5) * step - 0.5)
        before = <Py_ssize_t>floor(at)
        part = at - before
        if repeat and not 0 <= before < size - 1:
            part = 0
        add(axis, min(max(before, 0), size - 1), 1 - part)
        add(axis, min(max(before + 1, 0), size - 1), part)
    return axis


cdef void add(Axis axis, Py_ssize_t sample, float weight):
    axis.index.push_back(sample)
    axis.weight.push_back(weight)
    axis.fixed.push_back(<int>rint(weight * (1 << LINEAR_BITS)))


cdef Axis antialiased(Py_ssize_t size, Py_ssize_t begin, Py_ssize_t count, double step):
    """The samples of one sum lie side by side; those at the ends of the image have fewer, with zeros beside them."""
    cdef Axis axis = Axis()
    cdef double reach = max(step, 1.0), centre, total, weight
    cdef Py_ssize_t i, k, first, last, start
    cdef vector[double] weights
    axis.taps = min(<Py_ssize_t>floor(2 * reach) + 1, size)
    for i in range(count):
        centre = (begin + i + 0.5) * step
        first = max(<Py_ssize_t>(centre - reach + 0.5), 0)
        last = min(<Py_ssize_t>(centre + reach + 0.5), size)
        start = min(first, size - axis.taps)
        weights.assign(axis.taps, 0.0)
        total = 0
        for k in range(first, last):
            weights[k - start] = max(0.0, 1 - fabs(k + 0.5 - centre) / reach)
            total += weights[k - start]
        for k in range(axis.taps):
            axis.index.push_back(start + k)
            axis.fixed.push_back(<int>floor(weights[k] / total * (1 << ANTIALIASED_BITS) + 0.5))
    return axis


def taps(size, target, begin, step, bint antialias):
    """What `resize` adds up for the rows and for the columns of a result [h, w], of an image [H, W]: two arrays [2, n, taps]
    of int32, samples of the image and their weights in fixed point.
    """
    from numpy import array, int32

    cdef Axis axis
    found = []
    for way in range(2):
        if antialias:
            axis = antialiased(size[way], begin[way], target[way], step[way])
        else:
            axis = linear(size[way], begin[way], target[way], step[way], way == 1)
        found.append(array([axis.index, axis.fixed], int32).reshape(2, target[way], axis.taps))
    return found


cdef void across(const Pixel* source, Line* line, Axis columns, int channels, bint smooth) noexcept nogil:
    """A row of the image with the columns of the result."""
    cdef Py_ssize_t count = columns.index.size() // columns.taps, taps = columns.taps, x, k
    cdef const int* fixed = columns.fixed.data()
    cdef const Pixel* a
    cdef const Pixel* b
    cdef int c, red, green, blue
    for x in range(count):
        a = source + columns.index[x * taps] * channels
        if Pixel is float:
            b = source + columns.index[x * taps + 1] * channels
            for c in range(channels):
                line[x * channels + c] = <Line>(a[c] * columns.weight[2 * x] + b[c] * columns.weight[2 * x + 1])
        elif smooth:
            if channels == 3:
                red = green = blue = HALF
                for k in range(taps):
                    red += a[3 * k] * fixed[k]
                    green += a[3 * k + 1] * fixed[k]
                    blue += a[3 * k + 2] * fixed[k]
                line[3 * x] = red >> ANTIALIASED_BITS
                line[3 * x + 1] = green >> ANTIALIASED_BITS
                line[3 * x + 2] = blue >> ANTIALIASED_BITS
            else:
                for c in range(channels):
                    red = HALF
                    for k in range(taps):
                        red += a[k * channels + c] * fixed[k]
                    line[x * channels + c] = red >> ANTIALIASED_BITS
        else:
            b = source + columns.index[x * taps + 1] * channels
            for c in range(channels):
                line[x * channels + c] = (a[c] * fixed[0] + b[c] * fixed[1]) >> 4
        fixed += taps


cdef class Resampler:
    """Makes the rows of an image of another size, one after the other; each row of the source is looked at once."""

    cdef Axis rows, columns
    cdef bint smooth
    cdef int channels
    cdef Py_ssize_t width  # numbers in a row of the result
    cdef vector[Py_ssize_t] held  # the rows of the source that `ints` or `floats` have
    cdef vector[int] ints, sums
    cdef vector[float] floats

    def __init__(self, shape, target, begin, step, bint smooth, bint real):
        ends = [(first + n - 0.5) * apart for first, n, apart in zip(begin, target, step)]
        if min(begin) < 0 or not all(0 < end <= n * (1 + 1e-6) for end, n in zip(ends, shape)):
            raise ValueError(f"begin is {begin}, step is {step}, which lead outside of the image, {shape}")
        if smooth:
            self.rows = antialiased(shape[0], begin[0], target[0], step[0])
            self.columns = antialiased(shape[1], begin[1], target[1], step[1])
        else:
            self.rows = linear(shape[0], begin[0], target[0], step[0], False)
            self.columns = linear(shape[1], begin[1], target[1], step[1], True)
        self.smooth = smooth
        self.channels = shape[2]
        self.width = target[1] * shape[2]
        self.held.assign(self.rows.taps, -1)
        if real:
            self.floats.resize(self.rows.taps * self.width)
        else:
            self.ints.resize(self.rows.taps * self.width)
        self.sums.resize(self.width)


cdef Line* line_of(Resampler self, const Pixel* image, Py_ssize_t pitch, Py_ssize_t row, Line* lines) noexcept nogil:
    """Row `row` of the image, resampled across; neighbours have places of their own."""
    cdef Py_ssize_t slot = row % self.rows.taps
    cdef Line* line = lines + slot * self.width
    if self.held[slot] != row:
        across(image + row * pitch, line, self.columns, self.channels, self.smooth)
        self.held[slot] = row
    return line


cdef void fill_row(
    Resampler self, const Pixel* image, Py_ssize_t pitch, Py_ssize_t y, Pixel* out
) noexcept nogil:
    """Row `y` of the result."""
    cdef Py_ssize_t taps = self.rows.taps, x, k
    cdef const Py_ssize_t* index = self.rows.index.data() + y * taps
    cdef const int* fixed = self.rows.fixed.data() + y * taps
    cdef const float* weight
    cdef float* above
    cdef float* below
    cdef int* first
    cdef int* second
    cdef int* sums = self.sums.data()
    if Pixel is float:
        weight = self.rows.weight.data() + y * taps
        above = line_of(self, image, pitch, index[0], self.floats.data())
        below = line_of(self, image, pitch, index[1], self.floats.data())
        for x in range(self.width):
            out[x] = above[x] * weight[0] + below[x] * weight[1]
    elif self.smooth:
        for x in range(self.width):
            sums[x] = HALF
        for k in range(taps):
            if fixed[k]:
                first = line_of(self, image, pitch, index[k], self.ints.data())
                for x in range(self.width):
                    sums[x] += first[x] * fixed[k]
        for x in range(self.width):
            out[x] = <unsigned char>(sums[x] >> ANTIALIASED_BITS)
    else:
        first = line_of(self, image, pitch, index[0], self.ints.data())
        second = line_of(self, image, pitch, index[1], self.ints.data())
        for x in range(self.width):
            out[x] = <unsigned char>((((first[x] * fixed[0]) >> 16) + ((second[x] * fixed[1]) >> 16) + 2) >> 2)


def resize(image, out, *, begin=(0, 0), step, bint antialias=False):
    """Write `image` into `out` in another size.

    image: uint8 or float32 [H, W, C], C-contiguous; out: [h, w, C] of the same type. step: how far apart pixels of the
    result lie in the image, down and across. begin: the row and column of the whole result that `out` begins with.
    antialias: as Pillow's BILINEAR, of bytes alone, else as OpenCV's INTER_LINEAR. ValueError for other types.
    """
    cdef const unsigned char[:, :, ::1] source
    cdef unsigned char[:, :, ::1] target
    cdef const float[:, :, ::1] real_source
    cdef float[:, :, ::1] real_target
    cdef Py_ssize_t y
    real = image.dtype == "float32"
    if real and antialias:
        raise ValueError("only bytes are resized as Pillow does")
    if image.ndim != 3 or out.ndim != 3 or image.shape[2] != out.shape[2] or 0 in image.shape or 0 in out.shape:
        raise ValueError(f"image of shape {image.shape}, out {out.shape}; expected [H, W, C] and [h, w, C]")
    cdef Resampler resampler = Resampler(image.shape, out.shape[:2], begin, step, antialias, real)
    if real:
        real_source, real_target = image, out
        with nogil:
            for y in range(real_target.shape[0]):
                fill_row(resampler, &real_source[0, 0, 0], real_source.shape[1] * real_source.shape[2], y,
                         &real_target[y, 0, 0])
    else:
        source, target = image, out
        with nogil:
            for y in range(target.shape[0]):
                fill_row(resampler, &source[0, 0, 0], source.shape[1] * source.shape[2], y, &target[y, 0, 0])


cdef void write_row(
    const unsigned char* row, int pixel, float[:, :, :] out, Py_ssize_t y, const vector[int]& channels,
    const float[:, :, :] mean, const vector[float]& scale,
) noexcept nogil:
    """A row of pixels, each of `pixel` bytes, to the planes of the result."""
    cdef Py_ssize_t plane, x
    cdef const unsigned char* at
    for plane in range(out.shape[0]):
        at = row + max(channels[plane], 0)
        for x in range(out.shape[2]):
            if channels[plane] >= 0:
                out[plane, y, x] = (at[0] - mean[plane, y, x]) * scale[plane]
            else:
                out[plane, y, x] = (RED * at[0] + GREEN * at[1] + BLUE * at[2] - mean[plane, y, x]) * scale[plane]
            at += pixel


def prepare(image, out, *, str order, mean, scale, begin=(0, 0), step=None, bint antialias=False):
    """Write `image` into `out`, one row of a batch, as (pixel - mean) * scale.

    image: uint8, [H, W] or [H, W, 1] grey or [H, W, 3] RGB. out: float32 [planes, h, w], any strides. order: the planes,
    "RGB", "BGR" or "grey"; grey from colour is ITU-R BT.601 luma, colour from grey repeats it. mean: float32 [planes, h,
    w], any strides. scale: a number for each plane. begin, step, antialias: as of `resize`; by default the whole image
    becomes `out`. ValueError for other shapes, types or orders. The GIL is released.
    """
    planes = {"RGB": (0, 1, 2), "BGR": (2, 1, 0), "grey": (-1,)}.get(order)
    if planes is None:
        raise ValueError(f"color is {order[:20]!r}, expected 'RGB', 'BGR' or 'grey'")
    if image.dtype != "uint8" or image.ndim not in (2, 3):
        raise ValueError(f"image is {image.dtype} of shape {image.shape}, expected uint8 [H, W] or [H, W, C]")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"image has shape {image.shape}, expected [H, W, 1] or [H, W, 3]")
    if out.dtype != "float32" or out.ndim != 3 or len(out) != len(planes) or 0 in out.shape:
        raise ValueError(f"out is {out.dtype} of shape {out.shape}, expected float32 [{len(planes)}, h, w] for {order}")
    if mean.shape != out.shape or len(scale) != len(planes):
        raise ValueError(f"mean is {mean.shape}, {len(scale)} scales; expected those of out, {out.shape}")
    if step is None:
        step = (image.shape[0] / out.shape[1], image.shape[1] / out.shape[2])

    cdef const unsigned char[:, :, ::1] source = image.copy() if not image.flags.c_contiguous else image
    cdef float[:, :, :] target = out
    cdef const float[:, :, :] means = mean
    cdef vector[float] scales = scale
    cdef vector[int] channels = planes if source.shape[2] == 3 else (0,) * len(planes)
    cdef Resampler resampler = Resampler(image.shape, out.shape[1:], begin, step, antialias, False)
    cdef vector[unsigned char] row
    cdef Py_ssize_t y
    row.resize(resampler.width)
    with nogil:
        for y in range(target.shape[1]):
            fill_row(resampler, &source[0, 0, 0], source.shape[1] * source.shape[2], y, row.data())
            write_row(row.data(), resampler.channels, target, y, channels, means, scales)
