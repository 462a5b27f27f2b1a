// The C API (linnet.h). Translates between C and the core, decides nothing.
#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/options.h"
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
    static_assert(LINNET_BOOL == static_cast<int>(linnet::DType::kBool), "the same order");
    return {value.name.c_str(), value.shape().data(), value.shape().size(), count,
            static_cast<linnet_dtype>(value.type.dtype)};
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

// The options of a program that may have been compiled with another version's header: what it does
// not know is zero, and what this library does not know must be.
linnet_options known_options(const linnet_options& given) {
  linnet_options known = {};
  if (given.size < sizeof given.size || given.size > 4096)
    throw std::invalid_argument("linnet_options: size is " + std::to_string(given.size) +
                                ", set it to sizeof(linnet_options)");
  std::memcpy(&known, &given, std::min(given.size, sizeof known));
  const char* const bytes = reinterpret_cast<const char*>(&given);
  if (given.size > sizeof known &&
      std::any_of(bytes + sizeof known, bytes + given.size, [](char byte) { return byte != 0; }))
    throw std::invalid_argument("linnet_options: an option is set that linnet " LINNET_VERSION
                                " does not know");
  return known;
}

void assign(const linnet::Option& option, int value, int* field) {
  if (value < 0)
    throw std::invalid_argument(std::string(option.name) + " is " + std::to_string(value) +
                                ", expected at least 0");
  *field = value;
}
void assign(const linnet::Option&, int value, bool* field) { *field = value != 0; }
void assign(const linnet::Option&, size_t value, size_t* field) { *field = value; }
void assign(const linnet::Option&, const char* value, std::string* field) {
  if (value) *field = value;
}

// The shapes that a caller says its inputs have, of one batch.
std::vector<linnet::Shape> checked_shapes(const linnet_session* s, const int64_t* const* shapes) {
  std::vector<linnet::Shape> given;
  for (size_t i = 0; i < s->inputs.size(); ++i) {
    if (!shapes[i]) throw std::invalid_argument("the shape of an input is NULL");
    given.emplace_back(shapes[i], shapes[i] + s->inputs[i].rank);
    const linnet::Shape& wanted = s->session.graph().values[s->session.graph().inputs[i]].shape();
    bool fits = given[i][0] == given[0][0];
    for (size_t axis = 1; axis < wanted.size(); ++axis)
      fits = fits && (wanted[axis] == 0 || wanted[axis] == given[i][axis]);
    if (!fits)
      throw std::invalid_argument("input '" + std::string(s->inputs[i].name) + "' has shape " +
                                  linnet::to_string(given[i]) + ", expected " +
                                  linnet::to_string(wanted) + " and one batch");
  }
  return given;
}

void run(linnet_session* s, const linnet::Session::Resolved& graph, int64_t batch,
         const void* const* inputs, void* const* outputs) {
  const std::vector<const void*> from(inputs, inputs + s->inputs.size());
  const std::vector<void*> to(outputs, outputs + s->outputs.size());
  if (std::count(from.begin(), from.end(), nullptr))
    throw std::invalid_argument("linnet_run: an input is NULL");
  if (std::count(to.begin(), to.end(), nullptr))
    throw std::invalid_argument("linnet_run: an output is NULL");
  s->session.run(graph, batch, from, graph->outputs, to);
}

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
      const linnet_options known = known_options(*options);
      linnet::visit_options(
          [](const auto& option, auto& field, const auto& value) { assign(option, value, &field); },
          o, known);
    }
    *session = new linnet_session(linnet::read_onnx(path)->build(), std::move(o));
  });
}

void linnet_free(linnet_session* session) { delete session; }

size_t linnet_input_count(const linnet_session* s) { return s->inputs.size(); }
size_t linnet_output_count(const linnet_session* s) { return s->outputs.size(); }
const linnet_tensor* linnet_input(const linnet_session* s, size_t index) {
  return index < s->inputs.size() ? &s->inputs[index] : nullptr;
}
const linnet_tensor* linnet_output(const linnet_session* s, size_t index) {
  return index < s->outputs.size() ? &s->outputs[index] : nullptr;
}

linnet_status linnet_run(linnet_session* s, int64_t batch, const void* const* inputs,
                         void* const* outputs) {
  return guarded([&] {
    if (!s || !inputs || !outputs)
      throw std::invalid_argument("linnet_run: session, inputs and outputs must not be NULL");
    if (s->session.graph().open)
      throw std::invalid_argument("linnet_run: sizes are open, use linnet_run_shaped");
    run(s, s->session.resolved({}), batch, inputs, outputs);
  });
}

linnet_status linnet_run_shaped(linnet_session* s, const int64_t* const* shapes,
                                const void* const* inputs, void* const* outputs) {
  return guarded([&] {
    if (!s || !shapes || !inputs || !outputs)
      throw std::invalid_argument(
          "linnet_run_shaped: session, shapes, inputs and outputs must not be NULL");
    const auto given = checked_shapes(s, shapes);
    run(s, s->session.resolved(given), given[0][0], inputs, outputs);
  });
}

linnet_status linnet_output_shapes(linnet_session* s, const int64_t* const* shapes,
                                   int64_t* const* output_shapes) {
  return guarded([&] {
    if (!s || !shapes || !output_shapes)
      throw std::invalid_argument(
          "linnet_output_shapes: session, shapes and output_shapes must not be NULL");
    const auto given = checked_shapes(s, shapes);
    const auto graph = s->session.resolved(given);
    for (size_t i = 0; i < graph->outputs.size(); ++i) {
      linnet::Shape shape = graph->values[graph->outputs[i]].shape();
      shape[0] = linnet::Session::images(*graph, given[0][0], graph->outputs[i]);
      std::copy(shape.begin(), shape.end(), output_shapes[i]);
    }
  });
}

int linnet_threads(const linnet_session* s) { return s->session.threads(); }
const char* linnet_isa(const linnet_session* s) { return s->session.isa(); }
const char* linnet_error(void) { return last_error.c_str(); }
const char* linnet_version(void) { return LINNET_VERSION; }
int linnet_abi(void) { return LINNET_ABI; }
