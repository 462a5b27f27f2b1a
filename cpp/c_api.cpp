// The C API (linnet.h). Translates between C and the core, decides nothing.
#include <new>
#include <stdexcept>

#include "formats/onnx_reader.h"
#include "include/linnet.h"
#include "session.h"

// What a linnet_session is: the core's session and the descriptions handed out to C.
struct linnet_session {
  linnet_session(std::shared_ptr<const linnet::Graph> graph, linnet::SessionOptions options)
      : session(std::move(graph), std::move(options)) {
    const linnet::Graph& g = session.graph();
    for (int i : g.inputs) inputs.push_back(describe(g.values[i]));
    for (int i : g.outputs) outputs.push_back(describe(g.values[i]));
  }

  static linnet_tensor describe(const linnet::Value& value) {
    size_t count = 1;
    for (size_t axis = 1; axis < value.shape().size(); ++axis)
      count *= static_cast<size_t>(value.shape()[axis]);
    return {value.name.c_str(), value.shape().data(), value.shape().size(), count};
  }

  linnet::Session session;
  std::vector<linnet_tensor> inputs, outputs;
};

namespace {

thread_local std::string last_error;

linnet_status fail(linnet_status status, const char* what) {
  try {
    last_error = what;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status;
}

// Runs `f`, turning what it throws into a status and linnet_error()'s message.
template <typename F>
linnet_status guarded(F&& f) {
  try {
    f();
    return LINNET_OK;
  } catch (const std::invalid_argument& e) {
    return fail(LINNET_INVALID, e.what());
  } catch (const linnet::MemoryLimit& e) {
    return fail(LINNET_NO_MEMORY, e.what());
  } catch (const std::bad_alloc&) {
    return fail(LINNET_NO_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(LINNET_FAILED, e.what());
  }
}

std::string text(const char* s) { return s ? s : ""; }

}  // namespace

linnet_status linnet_load(const char* path, const linnet_options* options,
                          linnet_session** session) {
  return guarded([&] {
    if (!path || !session)
      throw std::invalid_argument("linnet_load: path and session must not be NULL");
    *session = nullptr;
    if (const char* problem = linnet::cpu_problem()) throw std::runtime_error(problem);
    linnet::SessionOptions o;
    if (options) {
      if (options->threads < 0)
        throw std::invalid_argument("threads is " + std::to_string(options->threads) +
                                    ", expected at least 0");
      o.threads = options->threads, o.isa = text(options->isa), o.blas = text(options->blas);
      o.nnpack = text(options->nnpack), o.memory_limit = options->memory_limit;
      if (options->weights_dtype) o.weights = linnet::weight_type(options->weights_dtype);
      o.planner.algorithm = text(options->algorithm), o.planner.strict = options->strict != 0;
    }
    *session = new linnet_session(linnet::read_onnx(path)->build(), std::move(o));
  });
}

void linnet_free(linnet_session* session) { delete session; }

size_t linnet_input_count(const linnet_session* s) { return s->inputs.size(); }
size_t linnet_output_count(const linnet_session* s) { return s->outputs.size(); }
linnet_tensor linnet_input(const linnet_session* s, size_t index) { return s->inputs[index]; }
linnet_tensor linnet_output(const linnet_session* s, size_t index) { return s->outputs[index]; }

linnet_status linnet_run(linnet_session* s, int64_t batch, const float* const* inputs,
                         float* const* outputs) {
  return guarded([&] {
    if (!s || !inputs || !outputs)
      throw std::invalid_argument("linnet_run: session, inputs and outputs must not be NULL");
    const std::vector<const float*> from(inputs, inputs + s->inputs.size());
    const std::vector<float*> to(outputs, outputs + s->outputs.size());
    for (const float* p : from) {
      if (!p) throw std::invalid_argument("linnet_run: an input is NULL");
    }
    for (const float* p : to) {
      if (!p) throw std::invalid_argument("linnet_run: an output is NULL");
    }
    s->session.run(batch, from, s->session.graph().outputs, to);
  });
}

int linnet_threads(const linnet_session* s) { return s->session.threads(); }
const char* linnet_isa(const linnet_session* s) { return s->session.isa(); }
const char* linnet_error(void) { return last_error.c_str(); }
const char* linnet_version(void) { return LINNET_VERSION; }
