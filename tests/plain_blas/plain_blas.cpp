// A BLAS that is not OpenBLAS: the one function that linnet needs of any, written as its meaning
// is.
#include "../third_party/openblas/cblas_decl.h"

using linnet::CblasOrder;
using linnet::CblasTranspose;

extern "C" __attribute__((visibility("default"))) void cblas_sgemm(
    CblasOrder, CblasTranspose trans_a, CblasTranspose trans_b, int m, int n, int k, float alpha,
    const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l)
        sum += (trans_a == linnet::kCblasNoTrans ? a[i * lda + l] : a[l * lda + i]) *
               (trans_b == linnet::kCblasNoTrans ? b[l * ldb + j] : b[j * ldb + l]);
      float& y = c[i * ldc + j];
      y = alpha * sum + (beta != 0 ? beta * y : 0);
    }
}
