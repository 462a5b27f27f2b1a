"""Depthwise tiles of 64-bit NEON for float32."""

from __future__ import annotations

from .scheduler import Assembly

# One row of pixels, a vector of channels at a time; of whole windows all rows in a turn, else each.
#
# x1-x5    x, weights, bias, y and residual of the vector
# x6       vectors left                       x7, x9     bytes between rows of x and of weights
# x8       bytes between columns of x         x10, x11   the next row's inputs and weights
# x12      rows left                          x13        bytes between pixels of y
# x14, x25 the next two inputs                x19, x20   bytes to the second's halves; of both
# x15...   upper halves on their way          x21        bytes between vectors of weights
# v0...    weights of a row, of every second from v24 on; inputs
# v16...   sums, one for each pixel           v30, v31   the limits
#
# As in products, a vector comes as a 64-bit load, which issues with the INS of another one's upper
# half, and a core load, which issues with a multiply-add.
HALVES = ("x15", "x16", "x17", "x22", "x23", "x24", "x26", "x27", "x28")
WEIGHTS = (0, 24)

# DepthwiseTile
X, X_ROW, X_COL, ROWS, W, W_VEC, W_ROW, VECS, BIAS = 0, 16, 24, 32, 56, 64, 72, 80, 88
RESIDUAL, Y, Y_PIXEL, LOW, HIGH = 96, 104, 120, 128, 132


class Rows:
    """Writes rows of the window, one after the other; its registers go round."""

    def __init__(self, kernel: int, stride: int, cols: int) -> None:
        self.kernel, self.stride, self.cols = kernel, stride, cols
        self.width = (cols - 1) * stride + kernel  # inputs of a row
        self.inputs = [f"v{n}" for n in range(kernel, 16)]
        self.halves = self.loaded = self.row = 0

    def load(self, vector: str, low: str, high: str) -> list[str]:
        half = HALVES[self.halves % len(HALVES)]
        self.halves += 1
        return [f"ldr d{vector[1:]}, {low}", f"ldr {half}, {high}", f"ins {vector}.d[1], {half}"]

    def place(self, index: int) -> str:
        return self.inputs[index % len(self.inputs)]

    def input(self, pointer: str, index: int) -> list[str]:
        """The row's next one."""
        vector = self.place(self.loaded)
        self.loaded += 1
        if index % 2 == 0:
            return self.load(vector, f"[{pointer}]", f"[{pointer}, #8]")
        lines = self.load(vector, f"[{pointer}, x8]", f"[{pointer}, x19]")
        return [*lines, f"add {pointer}, {pointer}, x20"]

    def next_row(self, ahead: int) -> list[str]:
        """Weights times inputs into all sums, inputs loaded so far ahead."""
        pointer, first = ("x14", "x25")[self.row % 2], WEIGHTS[self.row % 2]
        self.row += 1
        used = self.loaded
        lines = [f"mov {pointer}, x10", "add x10, x10, x7"]
        for tap in range(self.kernel):
            offset = 16 * tap
            lines += self.load(f"v{first + tap}", f"[x11, #{offset}]", f"[x11, #{offset + 8}]")
        lines.append("add x11, x11, x9")
        for index in range(-ahead, self.width):
            if index + ahead < self.width:
                lines += self.input(pointer, index + ahead)
            for tap in range(self.kernel):
                pixel, rest = divmod(index - tap, self.stride)
                if index >= 0 and rest == 0 and 0 <= pixel < self.cols:
                    value = self.place(used + index)
                    lines.append(f"fmla v{16 + pixel}.4s, v{first + tap}.4s, {value}.4s")
        return lines


def depthwise64(a: Assembly, kernel: int, stride: int, cols: int) -> None:
    """A whole DepthwiseTile of one row, that many pixels and that window."""
    a.function(f"linnet_a64_depthwise_{kernel}_{stride}_{cols}")
    vector, rows, summed, plain, whole = (a.label() for _ in range(5))
    sums = [f"v{16 + pixel}" for pixel in range(cols)]
    a.plain(f"ldr x1, [x0, #{X}]", f"ldp x7, x8, [x0, #{X_ROW}]", f"ldr x2, [x0, #{W}]")
    a.plain(f"ldp x21, x9, [x0, #{W_VEC}]", f"ldp x6, x3, [x0, #{VECS}]")
    a.plain(f"ldp x5, x4, [x0, #{RESIDUAL}]", f"ldr x13, [x0, #{Y_PIXEL}]")
    a.plain(*[f"lsl x{n}, x{n}, #2" for n in (7, 8, 9, 13, 21)])
    a.plain("add x19, x8, #8", "lsl x20, x8, #1", f"add x12, x0, #{LOW}")
    a.plain("ld1r {v30.4s}, [x12], #4", "ld1r {v31.4s}, [x12]")
    begin = ["ldr q16, [x3], #16", *[f"mov {v}.16b, v16.16b" for v in sums[1:]]]
    begin += ["mov x10, x1", "mov x11, x2"]
    limited = [f"fmax {v}.4s, {v}.4s, v30.4s" for v in sums]
    limited += [f"fmin {v}.4s, {v}.4s, v31.4s" for v in sums]
    onward = ["add x1, x1, #16", "add x2, x2, x21", "add x4, x4, #16", "subs x6, x6, #1"]
    stores = ["mov x12, x4", *[f"st1 {{{v}.4s}}, [x12], x13" for v in sums]]
    a.plain(f"cbnz x5, {vector}", f"ldr x12, [x0, #{ROWS}]", f"cmp x12, #{kernel}")
    a.plain(f"b.ne {vector}")
    a.at(whole)
    window = Rows(kernel, stride, cols)
    lines = [line for _ in range(kernel) for line in window.next_row(ahead=3)]
    lines = [*begin, *lines, *limited, *stores, *onward, f"b.ne {whole}"]
    a.scheduled(lines, tries=180 // kernel)
    a.leave()
    a.at(vector)
    a.scheduled([*begin, f"ldr x12, [x0, #{ROWS}]"])
    a.plain(f"cbz x12, {summed}")  # nothing of the window inside the image
    a.at(rows)
    lines = Rows(kernel, stride, cols).next_row(ahead=3)
    a.scheduled([*lines, "subs x12, x12, #1", f"b.gt {rows}"])
    a.at(summed)
    a.plain(f"cbz x5, {plain}", "mov x10, x5", "add x5, x5, #16")
    for v in sums:
        a.plain("ld1 {v0.4s}, [x10], x13", f"fadd {v}.4s, {v}.4s, v0.4s")
    a.at(plain)
    a.scheduled([*limited, *stores, *onward, f"b.ne {vector}"])
    a.leave()
