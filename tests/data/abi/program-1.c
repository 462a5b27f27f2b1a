/* A program of the first binary interface: calls every function, as a user would.
 *
 *   program-1 MODEL FLOATS: runs the model, of one input, on the images in the file FLOATS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linnet-1.h"

#define CHECK(condition)                                     \
  if (!(condition)) {                                        \
    fprintf(stderr, "%s: %s\n", #condition, linnet_error()); \
    return 1;                                                \
  }

int main(int argc, char** argv) {
  linnet_options options = {0};
  linnet_session* net = NULL;
  const linnet_tensor *x, *y;
  const void* inputs[1];
  void* outputs[1];
  float *from, *to;
  size_t batch, i;
  long bytes;
  FILE* file;
  CHECK(argc == 3);
  CHECK(linnet_abi() == LINNET_ABI);
  CHECK(strlen(linnet_version()) > 0);

  CHECK(linnet_load(argv[1], &options, &net) == LINNET_INVALID);
  CHECK(strstr(linnet_error(), "size") != NULL);
  options.size = sizeof options;
  options.memory_limit = 1;
  CHECK(linnet_load(argv[1], &options, &net) == LINNET_NO_MEMORY);
  options.memory_limit = (size_t)1 << 30;
  options.blas = "/no/such/library.so";
  CHECK(linnet_load(argv[1], &options, &net) == LINNET_FAILED);
  options.blas = NULL;
  options.nnpack = "/no/such/library.so";
  options.threads = 1;
  options.strict = 1;
  options.isa = "scalar";
  options.algorithm = "direct";
  options.weights_dtype = "f32";
  CHECK(linnet_load(argv[1], &options, &net) == LINNET_OK);
  CHECK(linnet_threads(net) == 1);
  CHECK(strcmp(linnet_isa(net), "scalar") == 0);
  CHECK(linnet_input_count(net) == 1);
  CHECK(linnet_output_count(net) == 1);
  CHECK(linnet_input(net, 1) == NULL);
  x = linnet_input(net, 0), y = linnet_output(net, 0);
  CHECK(x->dtype == LINNET_FLOAT32);
  CHECK(x->rank == 4);
  CHECK(x->shape[0] == 0);
  CHECK(x->count == (size_t)(x->shape[1] * x->shape[2] * x->shape[3]));
  CHECK(strlen(y->name) > 0);

  file = fopen(argv[2], "rb");
  CHECK(file && !fseek(file, 0, SEEK_END) && (bytes = ftell(file)) > 0);
  rewind(file);
  batch = (size_t)bytes / sizeof(float) / x->count;
  from = malloc((size_t)bytes), to = malloc(batch * y->count * sizeof(float));
  CHECK(from && to && fread(from, 1, (size_t)bytes, file) == (size_t)bytes);
  fclose(file);
  inputs[0] = from, outputs[0] = to;
  CHECK(linnet_run(net, (int64_t)batch, inputs, outputs) == LINNET_OK);
  for (i = 0; i < batch * y->count; ++i) printf("%.9g\n", (double)to[i]);
  free(from);
  free(to);
  linnet_free(net);
  return 0;
}
