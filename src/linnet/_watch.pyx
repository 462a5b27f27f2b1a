# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What `linnet watch` computes for every frame: what moves, where to look, and which of two sets belong together.

The background is a running mean and variance of every cell of a small plane of logarithmic luma (Wren et al., Pfinder,
1997). Light that changes multiplies luma, so it adds the same to neighbouring cells: the median of all changes and a wide
mean of what is left are taken off before a cell is judged. A cell that looks like the background of a neighbour is a
branch that sways (Elgammal et al., Non-parametric model for background subtraction, 2000).
"""

import numpy as np

from libc.math cimport fabsf, fmaxf, fminf, rint
from libc.string cimport memset
from libcpp.vector cimport vector

cdef int BINS = 256  # of the histogram that the median is taken of
cdef float RANGE = 2.0  # changes it covers, octaves of luma to either side
cdef float CLIP = 0.5  # what an object may add to the wide mean of changes, octaves
cdef int REACH = 4  # cells to either side in that mean
cdef float JUMP = 0.2  # change from one plane to the next that is no cloud's, octaves
cdef float LEAST = 0.09  # change that is never noise, octaves
cdef float SIGMAS = 3.5  # of a cell's own noise that are none
cdef float MOST = 0.35  # change that counts for the variance of a cell, octaves
cdef int MAJORITY = 4  # of a cell and its eight neighbours that must have changed


def shrink(const unsigned char[:, :] luma, int factor, const float[::1] curve, float[:, ::1] out):
    """Means of squares of `factor` pixels, by a curve of 1021 values for means of 0 to 255 in steps of a quarter.

    From four pixels on every second row is left out: half the memory to read, and noise is still averaged.
    """
    cdef Py_ssize_t y, x, row, k, columns = out.shape[1] * factor
    cdef int every = 2 if factor >= 4 else 1
    cdef int rows = (factor + every - 1) // every
    cdef float scale = 4.0 / (rows * factor)
    cdef vector[unsigned short] sums
    cdef const unsigned char* line
    cdef unsigned short* total
    cdef unsigned int cell
    if luma.shape[0] < out.shape[0] * factor or luma.shape[1] < columns or not 1 <= factor <= 128:
        raise ValueError("the plane is smaller than its cells")
    if curve.shape[0] != 1021 or (columns and luma.strides[1] != 1):
        raise ValueError("the curve or the plane has another form")
    sums.resize(columns)
    total = sums.data()
    with nogil:
        for y in range(out.shape[0]):
            memset(total, 0, columns * sizeof(unsigned short))
            for k in range(rows):
                row = y * factor + k * every
                line = &luma[row, 0]
                for x in range(columns):
                    total[x] += line[x]
            for x in range(out.shape[1]):
                cell = 0
                for k in range(factor):
                    cell += total[x * factor + k]
                out[y, x] = curve[<int>(cell * scale)]


cdef class Background:
    """What cells look like when nothing moves: mean and variance of each."""

    cdef readonly Py_ssize_t height, width
    cdef bint known
    cdef vector[float] mean, variance, change, light, line, last
    cdef vector[int] seen
    cdef vector[unsigned char] moved, still

    def __init__(self, Py_ssize_t height, Py_ssize_t width):
        self.height, self.width, self.known = height, width, False
        self.mean.assign(height * width, 0)
        self.variance.assign(height * width, 0)
        self.change.assign(height * width, 0)
        self.light.assign(height * width, 0)
        self.last.assign(height * width, 0)
        self.line.assign(max(width, 1), 0)
        self.moved.assign(height * width, 0)
        self.still.assign(height * width, 0)

    def reset(self):
        """The next plane is the background."""
        self.known = False

    def update(self, const float[:, ::1] now, unsigned char[:, ::1] mask, float calm, float still, float busy):
        """Writes 1 to `mask` where something moves, else 0; returns the part of cells that changed: from what they were
        a plane before, or from the background, whichever is more.

        How much of the difference a cell takes over: calm, if it is as the background; still, if it is not, but as it was
        a plane before; busy, if something moves there.
        """
        cdef float part, jumped
        if (now.shape[0], now.shape[1]) != (self.height, self.width) or (mask.shape[0], mask.shape[1]) != (self.height, self.width):
            raise ValueError("a plane of another size")
        if not self.height * self.width:
            return 0.0
        with nogil:
            if not self.known:
                self.begin(&now[0, 0])
            jumped = self.jump(&now[0, 0])
            self.compare(&now[0, 0])
            part = self.judge(&now[0, 0], calm, still, busy)
            self.clean(&mask[0, 0])
        return max(part, jumped)

    cdef void begin(self, const float* now) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.height * self.width):
            self.mean[i] = now[i]
            self.variance[i] = 0.0004
            self.last[i] = now[i]
        self.known = True

    cdef float jump(self, const float* now) noexcept nogil:
        """The part of cells that are not what they were a plane before."""
        cdef Py_ssize_t i, count = self.height * self.width, jumped = 0
        cdef float* last = self.last.data()
        cdef float step
        for i in range(count):
            step = fabsf(now[i] - last[i])
            jumped += step > JUMP
            self.still[i] = step <= LEAST
            last[i] = now[i]
        return <float>jumped / count

    cdef void compare(self, const float* now) noexcept nogil:
        """The change of every cell, and what of it is light."""
        cdef Py_ssize_t i, count = self.height * self.width
        cdef float* change = self.change.data()
        cdef float* light = self.light.data()
        cdef const float* mean = self.mean.data()
        cdef float middle
        for i in range(count):
            change[i] = now[i] - mean[i]
        middle = self.median()
        for i in range(count):
            change[i] -= middle
            light[i] = fminf(fmaxf(change[i], -CLIP), CLIP)
        for i in range(self.height):
            self.smooth(light + i * self.width, self.width, 1)
        for i in range(self.width):
            self.smooth(light + i, self.height, self.width)

    cdef float median(self) noexcept nogil:
        cdef Py_ssize_t i, count = self.height * self.width
        cdef float scale = BINS / (2 * RANGE)
        cdef int bin, below = 0
        self.seen.assign(BINS, 0)
        for i in range(count):
            bin = <int>((self.change[i] + RANGE) * scale)
            self.seen[min(max(bin, 0), BINS - 1)] += 1
        for bin in range(BINS):
            if 2 * (below + self.seen[bin]) >= count:
                break
            below += self.seen[bin]
        # Within its bin as if the cells in there were spread evenly.
        return (bin + (0.5 * count - below) / max(self.seen[bin], 1)) / scale - RANGE

    cdef void smooth(self, float* cells, Py_ssize_t count, Py_ssize_t step) noexcept nogil:
        """The mean of the cells within REACH of each, of those there are."""
        cdef Py_ssize_t i, first = 0, last = 0
        cdef float total = 0
        if <Py_ssize_t>self.line.size() < count:
            self.line.resize(count)
        cdef float* line = self.line.data()
        for i in range(count):
            line[i] = cells[i * step]
        for i in range(count):
            while last < min(i + REACH + 1, count):
                total += line[last]
                last += 1
            while first < i - REACH:
                total -= line[first]
                first += 1
            cells[i * step] = total / (last - first)

    cdef float judge(self, const float* now, float calm, float still, float busy) noexcept nogil:
        """Which cells have changed; each learns."""
        cdef Py_ssize_t i, count = self.height * self.width, moved = 0
        cdef float rest, limit, rate, size
        for i in range(count):
            rest = self.change[i] - self.light[i]
            size = fabsf(rest)
            limit = SIGMAS * SIGMAS * self.variance[i]
            self.moved[i] = size > LEAST and size * size > limit and not self.sways(i, rest)
            moved += self.moved[i]
            rate = calm if not self.moved[i] else still if self.still[i] else busy
            size = fminf(size, MOST)
            self.variance[i] += 0.4 * rate * (size * size - self.variance[i])
            # What a plane differs from the mean by, light included: change has lost the median, which calm cells follow.
            self.mean[i] += rate * (now[i] - self.mean[i])
        return <float>moved / count

    cdef bint sways(self, Py_ssize_t i, float rest) noexcept nogil:
        """Whether the background of a neighbour explains what a cell shows."""
        cdef Py_ssize_t y = i // self.width, x = i % self.width, dy, dx
        cdef float here = self.mean[i] + rest
        for dy in range(max(y - 1, 0), min(y + 2, self.height)):
            for dx in range(max(x - 1, 0), min(x + 2, self.width)):
                if fabsf(here - self.mean[dy * self.width + dx]) <= 0.6 * LEAST:
                    return True
        return False

    cdef void clean(self, unsigned char* mask) noexcept nogil:
        cdef Py_ssize_t y, x, v, u
        cdef int near
        for y in range(self.height):
            for x in range(self.width):
                near = 0
                if self.moved[y * self.width + x]:
                    for v in range(max(y - 1, 0), min(y + 2, self.height)):
                        for u in range(max(x - 1, 0), min(x + 2, self.width)):
                            near += self.moved[v * self.width + u]
                mask[y * self.width + x] = near >= MAJORITY


def colours(const unsigned char[:, :, :] image, const float[:, ::1] boxes):
    """Mean colours of the upper, middle and lower third of each box's inner half, float32 [N, 9] from 0 to 1.

    image: uint8 [H, W, 3]; boxes: float32 [N, 4], x0, y0, x1, y1. Some 5 x 12 pixels of each box are looked at.
    """
    cdef Py_ssize_t height = image.shape[0], width = image.shape[1], i, k, v, u, y, x
    cdef int c
    cdef float x0, y0, wide, high
    result = np.zeros((boxes.shape[0], 9), np.float32)
    cdef float[:, ::1] out = result
    if not height or not width or image.shape[2] != 3 or boxes.shape[1] != 4:
        raise ValueError("no picture, or no boxes")
    for i in range(boxes.shape[0]):
        x0, wide = fminf(fmaxf(boxes[i, 0], 0), width), fmaxf(boxes[i, 2] - boxes[i, 0], 0)
        y0, high = fminf(fmaxf(boxes[i, 1], 0), height), fmaxf(boxes[i, 3] - boxes[i, 1], 0)
        for v in range(12):
            y = <Py_ssize_t>fminf(y0 + high * (v + 0.5) / 12, height - 1)
            for u in range(5):
                x = <Py_ssize_t>fminf(x0 + wide * (0.25 + 0.5 * (u + 0.5) / 5), width - 1)
                for c in range(3):
                    out[i, v // 4 * 3 + c] += image[y, x, c] / (20 * 255.0)
    return result


def components(const unsigned char[:, ::1] mask, int gap, int least, int most):
    """Boxes around cells that are not 0, int32 [N, 5]: x0, y0, x1, y1, cells; the `most` largest, of `least` cells.

    Cells belong together that have at most `gap` - 1 others between them.
    """
    cdef Py_ssize_t height = mask.shape[0], width = mask.shape[1], y, x, v, u, cell
    cdef vector[unsigned char] open
    cdef vector[Py_ssize_t] stack
    cdef int x0, y0, x1, y1, cells
    found = []
    open.resize(height * width)
    for y in range(height):
        for x in range(width):
            open[y * width + x] = mask[y, x]
    for cell in range(height * width):
        if not open[cell]:
            continue
        open[cell] = 0
        stack.push_back(cell)
        x0, y0, x1, y1, cells = width, height, 0, 0, 0
        while not stack.empty():
            y, x = stack.back() // width, stack.back() % width
            stack.pop_back()
            cells += 1
            x0, y0, x1, y1 = min(x0, <int>x), min(y0, <int>y), max(x1, <int>x + 1), max(y1, <int>y + 1)
            for v in range(max(y - gap, 0), min(y + gap + 1, height)):
                for u in range(max(x - gap, 0), min(x + gap + 1, width)):
                    if open[v * width + u]:
                        open[v * width + u] = 0
                        stack.push_back(v * width + u)
        if cells >= least:
            found.append((x0, y0, x1, y1, cells))
    found.sort(key=lambda box: -box[4])
    return np.array(found[:most], np.int32).reshape(-1, 5)


cdef struct Box:
    double x0, y0, x1, y1


cdef struct Shape:  # of a picture, and of the least window in it
    int height, width, tall, wide


cdef double area(Box a) noexcept nogil:
    return (a.x1 - a.x0) * (a.y1 - a.y0)


cdef void span(double* low, double* high, double length, int whole) noexcept nogil:
    """An interval of a length about the same middle, moved inside a whole one."""
    length = min(rint(length), <double>whole)
    low[0] = min(max(rint((low[0] + high[0] - length) / 2), 0.0), whole - length)
    high[0] = low[0] + length


cdef Box shaped(Box a, Shape shape) noexcept nogil:
    """A box grown to the shape of a window about its middle, moved into the picture, cut at its edges."""
    cdef double scale = max(max((a.y1 - a.y0) / shape.tall, (a.x1 - a.x0) / shape.wide), 1.0)
    span(&a.x0, &a.x1, shape.wide * scale, shape.width)
    span(&a.y0, &a.y1, shape.tall * scale, shape.height)
    return a


cdef Box around(Box a, Box b, Shape shape) noexcept nogil:
    cdef Box both = Box(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))
    return shaped(both, shape)


cdef double price(Box a, Box b, Shape shape) noexcept nogil:
    """Pixels that one window for both has more than two: what they share counts twice, since it may be one thing that
    was cut.
    """
    cdef double width = min(a.x1, b.x1) - max(a.x0, b.x0)
    cdef double height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return area(around(a, b, shape)) - area(a) - area(b) - max(width, 0.0) * max(height, 0.0)


def join(const float[:, ::1] boxes, size, least, int most):
    """Windows x0, y0, x1, y1 that hold all boxes: the two are joined that cost the least more pixels, until that is more
    than none and there are at most `most`.

    boxes: float32 [N, 4]; size: height and width of the picture; least: those of a window, whose shape all take.
    """
    cdef Shape shape = Shape(size[0], size[1], least[0], least[1])
    cdef vector[Box] parts
    cdef vector[vector[double]] prices  # of each with those before it
    cdef Py_ssize_t i, j, first, second
    cdef Box joined
    if boxes.shape[1] != 4 or min(shape.height, shape.width, shape.tall, shape.wide) < 1:
        raise ValueError("no boxes, or a window of no size")
    with nogil:
        for i in range(boxes.shape[0]):
            add(parts, prices, shaped(Box(boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]), shape), shape)
        while parts.size() > 1:
            first, second = 1, 0
            for i in range(1, <Py_ssize_t>parts.size()):
                for j in range(i):
                    if prices[i][j] < prices[first][second]:
                        first, second = i, j
            if prices[first][second] > 0 and <Py_ssize_t>parts.size() <= most:
                break
            joined = around(parts[first], parts[second], shape)
            drop(parts, prices, first)
            drop(parts, prices, second)
            add(parts, prices, joined, shape)
    return [(int(part.x0), int(part.y0), int(part.x1), int(part.y1)) for part in parts]


cdef void add(vector[Box]& parts, vector[vector[double]]& prices, Box part, Shape shape) noexcept nogil:
    cdef vector[double] row
    cdef size_t i
    for i in range(parts.size()):
        row.push_back(price(part, parts[i], shape))
    parts.push_back(part)
    prices.push_back(row)


cdef void drop(vector[Box]& parts, vector[vector[double]]& prices, Py_ssize_t part) noexcept nogil:
    cdef size_t i
    parts.erase(parts.begin() + part)
    prices.erase(prices.begin() + part)
    for i in range(part, prices.size()):
        prices[i].erase(prices[i].begin() + part)


def assign(const float[:, :] cost, float limit):
    """Pairs (row, column) of the least total cost, as many as cost no more than `limit` each.

    The Hungarian algorithm by shortest augmenting paths (Jonker and Volgenant, 1987): n * n * m steps.
    """
    if cost.shape[0] > cost.shape[1]:
        return [(row, column) for column, row in assign(cost.T, limit)]
    cdef Py_ssize_t rows = cost.shape[0], columns = cost.shape[1], i, j, row, column, following
    cdef double least, reduced, forbidden = 1e6
    cdef vector[double] u, v, distance
    cdef vector[Py_ssize_t] match, way
    cdef vector[unsigned char] done
    u.assign(rows + 1, 0)
    v.assign(columns + 1, 0)
    match.assign(columns + 1, 0)  # the row of each column, from 1; column 0 holds the row to place
    way.assign(columns + 1, 0)
    for i in range(1, rows + 1):
        match[0] = i
        column = 0
        distance.assign(columns + 1, 1e300)
        done.assign(columns + 1, 0)
        while True:
            done[column] = 1
            row = match[column]
            least, following = 1e300, 0
            for j in range(1, columns + 1):
                if done[j]:
                    continue
                reduced = cost[row - 1, j - 1]
                reduced = (reduced if reduced <= limit else forbidden) - u[row] - v[j]
                if reduced < distance[j]:
                    distance[j] = reduced
                    way[j] = column
                if distance[j] < least:
                    least, following = distance[j], j
            for j in range(columns + 1):
                if done[j]:
                    u[match[j]] += least
                    v[j] -= least
                else:
                    distance[j] -= least
            column = following
            if not match[column]:
                break
        while column:
            following = way[column]
            match[column] = match[following]
            column = following
    return [(match[j] - 1, j - 1) for j in range(1, columns + 1) if match[j] and cost[match[j] - 1, j - 1] <= limit]
