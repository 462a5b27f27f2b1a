#ifndef LINNET_H
#define LINNET_H

#include <stddef.h>
#include <stdint.h>

/** linnet from C: load a model in linnet's form of ONNX (`linnet convert` writes it), run batches
 * of any size.
 *
 *   linnet_session* net;
 *   if (linnet_load("model.onnx", NULL, &net) != LINNET_OK) {
 *     fputs(linnet_error(), stderr);
 *     return 1;
 *   }
 *   const void* inputs[] = {image};
 *   void* outputs[] = {probabilities};
 *   linnet_run(net, 1, inputs, outputs);
 *   linnet_free(net);
 *
 * All arrays are dense and belong to the caller. A session may be used by several threads; their
 * runs queue. The library never prints and never ends the process, unless LINNET_LOG asks it to
 * print.
 *
 * A program compiled with this header runs with every later library of the same LINNET_ABI:
 * functions and values of enumerations are only added, fields only at the end of a struct. */

/** Number of the binary interface; the shared library's file name ends in it. */
#define LINNET_ABI 1

#if defined(__GNUC__)
#define LINNET_API __attribute__((visibility("default")))
#else
#define LINNET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** What a call says of itself; linnet_error has the sentence. */
typedef enum linnet_status {
  /** All went well. */
  LINNET_OK = 0,
  /** Bad input: the file, an argument. */
  LINNET_INVALID = 1,
  /** This machine cannot do it: instruction set, library, threads. */
  LINNET_FAILED = 2,
  /** Out of memory, or the memory limit is too small. */
  LINNET_NO_MEMORY = 3
} linnet_status;

/** How to load. Set `size` to sizeof(linnet_options) and all that is to have its default to zero:
 *
 *   linnet_options options = {0};
 *   options.size = sizeof options;
 *   options.threads = 2;
 *
 * Strings are read during the call only. */
typedef struct linnet_options {
  /** sizeof(linnet_options), by which the library knows the fields there are. */
  size_t size;
  /** How many threads; 0: one for every core this process may use. */
  int threads;
  /** Not 0: only algorithms that add up the products of the definition. */
  int strict;
  /** Most bytes of packed weights and activations together; 0: no limit. */
  size_t memory_limit;
  /** Instruction set of the kernels; NULL: $LINNET_ISA, else the best of this CPU. */
  const char* isa;
  /** Restricts convolutions and fully connected layers to one algorithm or family; NULL: any. */
  const char* algorithm;
  /** How to keep the weights of fully connected layers and ungrouped 1x1 convolutions: "f32",
   * "f16", "int8", or "auto", which is float16 where that loses nothing; NULL: as the file does. */
  const char* weights_dtype;
  /** "master", "dl" or a path of OpenBLAS; NULL: one is looked for. */
  const char* blas;
  /** Path of a library that holds NNPACK; NULL: $LINNET_NNPACK, else the system's if it has one. */
  const char* nnpack;
} linnet_options;

/** The type of a tensor's elements. */
typedef enum linnet_dtype {
  /** float. */
  LINNET_FLOAT32 = 0,
  /** IEEE 754 half precision. */
  LINNET_FLOAT16 = 1,
  /** int8_t. */
  LINNET_INT8 = 2,
  /** uint8_t. */
  LINNET_UINT8 = 3,
  /** int16_t. */
  LINNET_INT16 = 4,
  /** int32_t. */
  LINNET_INT32 = 5,
  /** int64_t. */
  LINNET_INT64 = 6,
  /** A byte, 0 or 1. */
  LINNET_BOOL = 7
} linnet_dtype;

/** An input or output. Belongs to the session and lives as long. */
typedef struct linnet_tensor {
  /** What the model calls it. */
  const char* name;
  /** `rank` sizes; 0: any, as the first, the batch. */
  const int64_t* shape;
  /** How many axes it has, the batch included. */
  size_t rank;
  /** Elements of one image; 0 where a size besides the batch is open. */
  size_t count;
  /** Of its elements. */
  linnet_dtype dtype;
} linnet_tensor;

/** A loaded model. */
typedef struct linnet_session linnet_session;

/** Loads the model in the file `path`. `options` may be NULL. On success *session is to be given to
 * linnet_free. */
LINNET_API linnet_status linnet_load(const char* path, const linnet_options* options,
                                     linnet_session** session);

/** Ends a session; NULL does nothing. */
LINNET_API void linnet_free(linnet_session* session);

/** How many inputs the model has. */
LINNET_API size_t linnet_input_count(const linnet_session* session);
/** How many outputs the model has. */
LINNET_API size_t linnet_output_count(const linnet_session* session);

/** The input number `index`; NULL if there is none. */
LINNET_API const linnet_tensor* linnet_input(const linnet_session* session, size_t index);
/** The output number `index`; NULL if there is none. */
LINNET_API const linnet_tensor* linnet_output(const linnet_session* session, size_t index);

/** Runs `batch` images: inputs[i] points to batch * linnet_input(session, i)->count elements of the
 * input's type, likewise outputs[i]. Where an output is what a detector finds, each image has as
 * many rows as there may be: those that begin with -1 are none. */
LINNET_API linnet_status linnet_run(linnet_session* session, int64_t batch,
                                    const void* const* inputs, void* const* outputs);

/** The same for a model that leaves sizes open, and any other: `shapes[i]` are the sizes of input
 * i, linnet_input(session, i)->rank of them, the batch first, which is the same for all. */
LINNET_API linnet_status linnet_run_shaped(linnet_session* session, const int64_t* const* shapes,
                                           const void* const* inputs, void* const* outputs);

/** The sizes of the outputs for inputs of such shapes: fills output_shapes[i] with
 * linnet_output(session, i)->rank sizes. */
LINNET_API linnet_status linnet_output_shapes(linnet_session* session, const int64_t* const* shapes,
                                              int64_t* const* output_shapes);

/** How many threads the session computes with. */
LINNET_API int linnet_threads(const linnet_session* session);
/** The instruction set of the session's kernels, for example "neon_vfpv4". */
LINNET_API const char* linnet_isa(const linnet_session* session);

/** What went wrong in this thread's last call that did not return LINNET_OK; "" before the first.
 * Valid until the next. */
LINNET_API const char* linnet_error(void);

/** Version of the library, "MAJOR.MINOR.PATCH". */
LINNET_API const char* linnet_version(void);
/** The library's LINNET_ABI. */
LINNET_API int linnet_abi(void);

#ifdef __cplusplus
}
#endif

#endif
