#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "backends/backends.h"
#include "plan/planner.h"

using linnet::find_openblas;
using linnet::OpenBlas;
using linnet::OpenBlasLock;

TEST_CASE("a request for something that is not OpenBLAS is refused with the reason") {
  std::string why;
  CHECK_FALSE(find_openblas("libm.so.6", &why));
  CHECK(why.find("libm") != std::string::npos);
  CHECK(why.find("cblas_sgemm") != std::string::npos);
  CHECK_FALSE(find_openblas("/no/such/libopenblas.so", &why));
  CHECK(why.find("/no/such/libopenblas.so") != std::string::npos);
}

namespace {

// Tests that need an OpenBLAS are skipped, and counted as skipped, where the system has none.
const OpenBlas* system_openblas() {
  std::string why;
  return find_openblas("", &why);
}

// The largest difference of an m x n product from the one computed in double.
double gemm_error(const OpenBlas& blas, int m, int n, int k) {
  std::vector<float> a(m * k), b(k * n), c(m * n, -1.0f);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 13) - 6;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 7) - 3;
  blas.cblas_sgemm(linnet::kCblasRowMajor, linnet::kCblasNoTrans, linnet::kCblasNoTrans, m, n, k,
                   1.0f, a.data(), k, b.data(), n, 0.0f, c.data(), n);
  double worst = 0;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int l = 0; l < k; ++l) sum += double(a[i * k + l]) * b[l * n + j];
      worst = std::max(worst, std::abs(sum - c[i * n + j]));
    }
  return worst;
}

}  // namespace

TEST_CASE("any BLAS will do, with the threads it has") {
  std::string why;
  const OpenBlas* blas = find_openblas(LINNET_PLAIN_BLAS, &why);
  REQUIRE_MESSAGE(blas, why);
  CHECK(blas->threading == "its own");
  CHECK(std::string(blas->openblas_get_corename()).empty());
  CHECK(blas->warning.empty());
  OpenBlasLock lock(*blas, 2);
  CHECK(gemm_error(*blas, 5, 7, 9) == 0.0);
}

TEST_CASE("the system's OpenBLAS multiplies on the threads asked for" *
          doctest::skip(!system_openblas())) {
  const OpenBlas* blas = system_openblas();
  CHECK(blas->path.find("openblas") != std::string::npos);
  CHECK(std::string(blas->openblas_get_config()).find("OpenBLAS") != std::string::npos);
  // It may be older than this CPU.
  if (!blas->warning.empty())
    CHECK(blas->warning.find("set OPENBLAS_CORETYPE=") != std::string::npos);

  const int before = blas->openblas_get_num_threads();
  for (int threads : {1, 2}) {
    OpenBlasLock lock(*blas, threads);
    if (blas->threading != "sequential") CHECK(blas->openblas_get_num_threads() == threads);
    CHECK(gemm_error(*blas, 48, 200, 96) == 0.0);  // small integers: exact
  }
  CHECK(blas->openblas_get_num_threads() == before);

  std::string why;  // the same library by its path
  const OpenBlas* again = find_openblas(blas->path, &why);
  REQUIRE_MESSAGE(again, why);
  CHECK((again->cblas_sgemm == blas->cblas_sgemm));
}

TEST_CASE("steps of several threads take turns" * doctest::skip(!system_openblas())) {
  const OpenBlas* blas = system_openblas();
  int inside = 0, most = 0;  // guarded by the lock under test
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      for (int i = 0; i < 10; ++i) {
        OpenBlasLock lock(*blas, 1 + c % 2);
        most = std::max(most, ++inside);
        wrong.fetch_add(gemm_error(*blas, 33, 65, 17) != 0.0);
        --inside;
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(most == 1);
  CHECK(wrong.load() == 0);
}

TEST_CASE("a library is loaded for what it may be the fastest for, or is asked for") {
  const auto loaded = [](const char* algorithm, bool known) {
    linnet::Backends backends(LINNET_PLAIN_BLAS, "/no/such/nnpack.so");
    linnet::WeightStore weights;
    linnet::ThreadPool pool(1);
    const linnet::Context context{linnet::kernels_for(nullptr), weights, backends};
    linnet::PlannerOptions options;
    options.wisdom = "", options.algorithm = algorithm;
    const linnet::Problem problem =
        linnet::Problem::parse("conv f32 n1 c32h14w14 k32r3x3p1,1,1,1 nhwc t1");
    const linnet::Planner planner(options, context, pool);
    if (known) planner.wisdom().record(problem.key(), {{"im2col-openblas", 1e-9}});
    planner.choose(problem, nullptr, nullptr);
    return backends.openblas.known() != nullptr;
  };
  CHECK_FALSE(loaded("", false));
  CHECK(loaded("im2col-openblas", false));
  CHECK(loaded("", true));
}
