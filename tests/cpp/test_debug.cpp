// What debug builds (LINNET_DEBUG) check of every step.
#include "run/debug.h"

#if defined(LINNET_DEBUG)

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <string>

#include "compile/place.h"
#include "run/run.h"

using namespace linnet;

namespace {

using Work = std::function<void(const FloatOperands&)>;

// A plan with 64 bytes of workspace that does some work.
Plan working(const Work& work) {
  static constexpr PlanCode kCode{"test", sizeof(Work),
                                  [](const void* args, const Operands& operands) {
                                    (*static_cast<const Work*>(args))(FloatOperands(operands));
                                  }};
  static Backends backends;
  return {&kCode, std::make_shared<const Work>(work), 64, {}, &kernels_for(nullptr), &backends};
}

// Two steps over an image of 3 channels in vectors of 4, by way of a block in the arena. Returns
// what a debug build says of them; "" if nothing.
std::string complaint(Work first, Work second) {
  Program p;
  p.width = 4;
  p.blocks.resize(3);
  p.blocks[0].where = Block::kInput;
  p.blocks[1].bytes = 4 * sizeof(float);
  p.blocks[1].first_step = 0, p.blocks[1].last_step = 1;
  p.blocks[2].where = Block::kOutput;
  for (int i = 0; i < 2; ++i) {
    Step step;
    step.name = i ? "second" : "first";
    step.choice.algorithm = &algorithm("direct-ref");
    step.choice.problem = Problem::parse("map f32 n1 c3h1w1 nhwc t1");
    step.x.block = i, step.y.block = i + 1;
    step.plan = working(i ? second : first);
    p.steps.push_back(std::move(step));
  }
  place(p);
  int out[2];
  REQUIRE(pipe(out) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    Runner runner(std::move(p));
    ThreadPool pool(1);
    const float x[4] = {};
    float y[4];
    runner.run(0, {x}, {y}, pool, nullptr);
    _exit(0);
  }
  close(out[1]);
  std::string text;
  char bytes[256];
  for (ssize_t n; (n = read(out[0], bytes, sizeof bytes)) > 0;)
    text.append(bytes, static_cast<size_t>(n));
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) == !text.empty());
  return text;
}

void well(const FloatOperands& o) {
  for (int i = 0; i < 4; ++i) o.y[i] = 0;
}

}  // namespace

TEST_CASE("debug: steps that keep the rules are left alone") { CHECK(complaint(well, well) == ""); }

TEST_CASE("debug: writing beside a block or workspace is named") {
  const std::string beyond = complaint([](const FloatOperands& o) { well(o), o.y[4] = 1; }, well);
  CHECK(beyond.find("step 0 first (direct-ref, map") != std::string::npos);
  CHECK(beyond.find("wrote beyond block 1") != std::string::npos);
  CHECK(complaint([](const FloatOperands& o) { well(o), o.y[-1] = 1; }, well)
            .find("wrote before block 1") != std::string::npos);
  CHECK(complaint(well, [](const FloatOperands& o) {
          o.workspace[16] = 1;
        }).find("step 1 second") != std::string::npos);
}

TEST_CASE("debug: padding that is not zero is named") {
  CHECK(complaint([](const FloatOperands& o) { well(o), o.y[3] = 1; }, well)
            .find("step 1 second (direct-ref, map f32 n1 c3h1w1 nhwc t1) reads block 1, in "
                  "which lane 3 of pixel 0 is padding and not zero") != std::string::npos);
}

TEST_CASE("debug: memory begins and ends as NaN") {
  const auto expect_nan = [](const float* at) {
    if (!std::isnan(*at)) std::fputs("a number\n", stderr);
  };
  CHECK(
      complaint([&](const FloatOperands& o) { expect_nan(o.y), expect_nan(o.workspace), well(o); },
                well) == "");
}

#endif
