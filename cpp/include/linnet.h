/* linnet from C: load a model in linnet's form of ONNX (`linnet convert` writes it), run batches of
 * any size.
 *
 *   linnet_session *net;
 *   if (linnet_load("model.onnx", NULL, &net) != LINNET_OK) { fputs(linnet_error(), stderr); return
 * 1; } const float *inputs[] = {image}; float *outputs[] = {probabilities}; linnet_run(net, 1,
 * inputs, outputs); linnet_free(net);
 *
 * All arrays are float32, dense, and belong to the caller. A session may be used by several
 * threads; their runs queue. The library never prints and never ends the process. */
#ifndef LINNET_H
#define LINNET_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LINNET_API __attribute__((visibility("default")))
#else
#define LINNET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum linnet_status {
  LINNET_OK = 0,
  LINNET_INVALID = 1,  /* bad input: the file, an argument */
  LINNET_FAILED = 2,   /* this machine cannot do it: instruction set, library, threads */
  LINNET_NO_MEMORY = 3 /* out of memory, or the memory limit is too small */
} linnet_status;

/* How to load; set all to zero for the defaults. Strings are read during the call only. */
typedef struct linnet_options {
  int threads;         /* 0: one for every core this process may use */
  int strict;          /* not 0: only algorithms that add up the products of the definition */
  size_t memory_limit; /* most bytes of packed weights and activations together; 0: none */
  const char*
      isa; /* instruction set of the kernels; NULL: $LINNET_ISA, else the best of this CPU */
  const char* blas; /* "master", "dl" or a path of OpenBLAS; NULL: one is looked for */
  const char*
      algorithm;      /* restricts convolutions and fully connected layers to this one; NULL: any */
  const char* nnpack; /* path of a library that holds NNPACK; NULL: $LINNET_NNPACK, else the
                         system's if there is one */
  const char* weights_dtype; /* how to keep the weights of fully connected layers and ungrouped 1x1
                                convolutions: "f32", "f16" or "int8"; NULL: as the file does */
} linnet_options;

/* An input or output. `shape` has `rank` elements, of which the first, the batch, is 0. Lives as
 * long as the session. */
typedef struct linnet_tensor {
  const char* name;
  const int64_t* shape;
  size_t rank;
  size_t count; /* floats of one image */
} linnet_tensor;

typedef struct linnet_session linnet_session;

/* Loads the model in the file `path`. `options` may be NULL. On success *session is to be given to
 * linnet_free. */
LINNET_API linnet_status linnet_load(const char* path, const linnet_options* options,
                                     linnet_session** session);

/* Ends a session; NULL does nothing. */
LINNET_API void linnet_free(linnet_session* session);

LINNET_API size_t linnet_input_count(const linnet_session* session);
LINNET_API size_t linnet_output_count(const linnet_session* session);

/* The input or output number `index`, which must be below the count. */
LINNET_API linnet_tensor linnet_input(const linnet_session* session, size_t index);
LINNET_API linnet_tensor linnet_output(const linnet_session* session, size_t index);

/* Runs `batch` images: inputs[i] points to batch * linnet_input(session, i).count floats, likewise
 * outputs[i]. */
LINNET_API linnet_status linnet_run(linnet_session* session, int64_t batch,
                                    const float* const* inputs, float* const* outputs);

/* Threads the session computes with, and the instruction set of its kernels, for example
 * "neon_vfpv4". */
LINNET_API int linnet_threads(const linnet_session* session);
LINNET_API const char* linnet_isa(const linnet_session* session);

/* What went wrong in this thread's last call that did not return LINNET_OK; "" before the first.
 * Valid until the next. */
LINNET_API const char* linnet_error(void);

/* Version of the library, "MAJOR.MINOR.PATCH". */
LINNET_API const char* linnet_version(void);

#ifdef __cplusplus
}
#endif

#endif
