// Runs a model once as a whole and then each of its layers once on its own, every one between the
// marks that counter.c looks for: count MODEL.onnx ALGORITHM|auto BATCH [layers]. One thread; the
// weights of single layers are random. Prints a line for each: name, algorithm, problem, bytes of
// packed weights, bytes of activations, without rows between layers that are computed together, and
// how many there are; with `layers`, of layers alike the first alone, in its first run, and not the
// whole.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "formats/onnx_reader.h"
#include "layer.h"
#include "regions.h"
#include "session.h"

namespace linnet {
namespace {

std::vector<float> random_floats(int64_t count) {
  std::mt19937 random(1);
  std::vector<float> v(static_cast<size_t>(count));
  for (float& f : v) f = static_cast<float>(random() >> 8) / 16777216.0f - 0.5f;
  return v;
}

Weight as_weight(const std::vector<float>& data) {
  Weight w;
  w.shape = {static_cast<int64_t>(data.size())};
  w.data = data.data();
  return w;
}

void count_layer(const StepReport& step, const char* isa, int times, bool again) {
  const Problem& p = step.choice.problem;
  std::vector<float> weight, bias;
  Weight w, b;
  const bool weighted = p.weighted();
  if (weighted) {
    weight = random_floats(p.y.dims.c * p.taps());
    bias = random_floats(p.y.dims.c);
    w = as_weight(weight), b = as_weight(bias);
  }
  Layer layer(p, step.choice.algorithm->name(), isa, weighted ? &w : nullptr,
              weighted ? &b : nullptr);
  const std::vector<float> x = random_floats(layer.x_count()),
                           operand = random_floats(layer.operand_count());
  std::vector<float> y(static_cast<size_t>(layer.y_count()));
  if (again) layer.run(x.data(), operand.data(), y.data());
  begin_region();
  layer.run(x.data(), operand.data(), y.data());
  end_region();
  size_t bytes = bytes_of(layer.operand_count(), p.z.dtype);
  if (!step.reads_rows) bytes += bytes_of(layer.x_count(), p.x.dtype);
  if (!step.writes_rows) bytes += bytes_of(layer.y_count(), p.y.dtype);
  std::printf("%s\t%s\t%s\t%zu\t%zu\t%d\n", step.name.c_str(), step.choice.algorithm->name(),
              p.key().c_str(), layer.weight_bytes(), bytes, times);
}

void count_whole(Session& session, const std::string& algorithm, int64_t batch) {
  const Graph& graph = session.graph();
  std::vector<std::vector<float>> from, to;
  std::vector<const void*> x;
  std::vector<void*> y;
  const auto floats = [&](int value) {
    int64_t n = batch;
    for (size_t axis = 1; axis < graph.values[value].shape().size(); ++axis)
      n *= graph.values[value].shape()[axis];
    return random_floats(n);
  };
  for (int i : graph.inputs) from.push_back(floats(i));
  for (int o : graph.outputs) to.push_back(floats(o));
  for (const auto& v : from) x.push_back(v.data());
  for (auto& v : to) y.push_back(v.data());
  session.run(batch, x, graph.outputs, y);
  begin_region();
  session.run(batch, x, graph.outputs, y);
  end_region();
  std::printf("whole\t%s\t%s batch %lld\t%zu\t%zu\t1\n", algorithm.c_str(), session.isa(),
              static_cast<long long>(batch), session.weight_bytes(), session.arena_bytes());
}

void count(const std::string& path, const std::string& algorithm, int64_t batch, bool layers) {
  SessionOptions options;
  options.threads = 1;
  options.algorithm = algorithm == "auto" ? "" : algorithm;
  Session session(read_onnx(path)->build(), options);
  if (!layers) count_whole(session, algorithm, batch);
  const auto plan = session.plan(session.resolved(), batch, session.graph().outputs);
  const auto kind = [](const StepReport& step) {
    return std::tuple(step.choice.problem.key(), std::string(step.choice.algorithm->name()),
                      step.reads_rows, step.writes_rows);
  };
  std::map<decltype(kind(plan[0])), int> alike;
  for (const StepReport& step : plan) ++alike[kind(step)];
  for (const StepReport& step : plan) {
    int& times = alike[kind(step)];
    if (!layers || times) count_layer(step, session.isa(), layers ? times : 1, !layers);
    times = 0;
  }
}

}  // namespace
}  // namespace linnet

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: %s MODEL.onnx ALGORITHM|auto BATCH [layers]\n", argv[0]);
    return 1;
  }
  try {
    linnet::count(argv[1], argv[2], std::atoll(argv[3]), argc == 5);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
