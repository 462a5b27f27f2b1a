#pragma once

// The part of OpenBLAS's C interface that linnet calls, as types of the functions looked up at run
// time. Declared here so that building linnet needs no OpenBLAS. Integers are 32 bits wide (a
// library built with INTERFACE64 is refused).

namespace linnet {

enum CblasOrder : int { kCblasRowMajor = 101, kCblasColMajor = 102 };
enum CblasTranspose : int { kCblasNoTrans = 111, kCblasTrans = 112 };

extern "C" {

// C = alpha * op(A) * op(B) + beta * C with op(A) of m x k and op(B) of k x n.
using CblasSgemm = void(CblasOrder order, CblasTranspose trans_a, CblasTranspose trans_b, int m,
                        int n, int k, float alpha, const float* a, int lda, const float* b, int ldb,
                        float beta, float* c, int ldc);

using OpenblasSetNumThreads = void(int threads);
using OpenblasGetNumThreads = int();
using OpenblasGetParallel = int();    // 0 sequential, 1 its own threads, 2 OpenMP
using OpenblasGetCorename = char*();  // "SkylakeX"; static storage
using OpenblasGetConfig = char*();    // "OpenBLAS 0.3.21 DYNAMIC_ARCH ..."; static storage
using BlasThreadShutdown = int();     // ends its own threads; a threaded product starts them anew

}  // extern "C"

}  // namespace linnet
