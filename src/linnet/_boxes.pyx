# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Boxes that overlap: how much, and which of them stay. A box is x0, y0, x1, y1, float32."""

import numpy as np

from libc.math cimport sqrtf
from libcpp.vector cimport vector


cdef inline float area(const float* box) noexcept nogil:
    return max(box[2] - box[0], <float>0) * max(box[3] - box[1], <float>0)


cdef inline float shared(const float* a, const float* b) noexcept nogil:
    cdef float wide = min(a[2], b[2]) - max(a[0], b[0]), high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0


cdef inline float overlap_of(const float* a, const float* b) noexcept nogil:
    cdef float inner = shared(a, b), outer
    if inner <= 0:
        return 0
    outer = area(a) + area(b) - inner
    return inner / outer if outer > 0 else 0


def _rows(boxes):
    array = np.ascontiguousarray(boxes, np.float32)
    if array.size and array.shape[array.ndim - 1] != 4:
        raise ValueError("a box has four numbers")
    return array.reshape(-1, 4)


def overlaps(a, b, wider=None):
    """Intersection over union of every box of a, [n, 4], with every one of b, [m, 4]: [n, m] float32.

    wider: [n] float32, the part of their size, the square root of the area, by which that box of a and each of b are
    grown before, half of it on either side.
    """
    cdef const float[:, ::1] first = _rows(a)
    cdef const float[:, ::1] second = _rows(b)
    cdef const float[::1] parts = np.zeros(first.shape[0], np.float32) if wider is None else wider
    found = np.zeros((first.shape[0], second.shape[0]), np.float32)
    cdef float[:, ::1] out = found
    cdef Py_ssize_t i, j
    cdef float[4] one, other
    if parts.shape[0] != first.shape[0]:
        raise ValueError("each box has one part")
    with nogil:
        for i in range(first.shape[0]):
            grow(&first[i, 0], parts[i], one)
            for j in range(second.shape[0]):
                grow(&second[j, 0], parts[i], other)
                out[i, j] = overlap_of(one, other)
    return found


cdef inline void grow(const float* box, float part, float* out) noexcept nogil:
    cdef float more = sqrtf(area(box)) * (part / 2) if part else 0
    out[0], out[1], out[2], out[3] = box[0] - more, box[1] - more, box[2] + more, box[3] + more


def covered(a, b):
    """The part of every box of a, [n, 4], that each of b, [m, 4], covers: [n, m] float32."""
    cdef const float[:, ::1] first = _rows(a)
    cdef const float[:, ::1] second = _rows(b)
    found = np.zeros((first.shape[0], second.shape[0]), np.float32)
    cdef float[:, ::1] out = found
    cdef Py_ssize_t i, j
    with nogil:
        for i in range(first.shape[0]):
            for j in range(second.shape[0]):
                out[i, j] = shared(&first[i, 0], &second[j, 0]) / max(area(&first[i, 0]), <float>1e-6)
    return found


def suppress(boxes, scores, groups, float overlap, Py_ssize_t most, bint average=False):
    """Non-maximum suppression: which boxes stay, the best first, at most `most`, and their corners.

    boxes: [n, 4] float32; scores: [n] float32; groups: [n] int32, only boxes of one group suppress
    each other. One that overlaps a better one by more than `overlap` goes. average: what stays gets
    the mean corners of itself and those that it suppresses, weighted by their scores (the weighted
    suppression of BlazeFace, Bazarevsky et al., 2019). Returns [k] int64 and [k, 4] float32.
    """
    cdef const float[:, ::1] box = _rows(boxes)
    cdef const float[::1] score = np.ascontiguousarray(scores, np.float32)
    cdef const int[::1] group = np.ascontiguousarray(groups, np.int32)
    cdef Py_ssize_t count = box.shape[0]
    if score.shape[0] != count or group.shape[0] != count:
        raise ValueError(f"{count} boxes, {score.shape[0]} scores, {group.shape[0]} groups")
    cdef const Py_ssize_t[::1] order = np.argsort(-np.asarray(score), kind="stable").astype(np.intp)
    cdef vector[char] gone
    cdef vector[Py_ssize_t] kept
    cdef vector[float] corners
    cdef Py_ssize_t i, j, a, b, c
    cdef double total
    cdef double[4] mean
    gone.resize(count, 0)
    with nogil:
        for i in range(count):
            a = order[i]
            if gone[a]:
                continue
            if <Py_ssize_t>kept.size() == most:
                break
            total = score[a]
            for c in range(4):
                mean[c] = box[a, c] * total
            for j in range(i + 1, count):
                b = order[j]
                if gone[b] or group[a] != group[b] or overlap_of(&box[a, 0], &box[b, 0]) <= overlap:
                    continue
                gone[b] = 1
                total += score[b]
                for c in range(4):
                    mean[c] += box[b, c] * score[b]
            kept.push_back(a)
            for c in range(4):
                corners.push_back(<float>(mean[c] / total) if average and total > 0 else box[a, c])
    return np.array(kept, np.int64), np.array(corners, np.float32).reshape(-1, 4)
