/* Classifies grey-scale images: classify MODEL.onnx IMAGE.pgm...
 *
 * The model takes [N, 1, height, width] with values 0..1 and gives one score per class; the images,
 * binary PGM files of that size (ImageMagick: `convert 5.png -resize 88x88! 5.pgm`), go through it
 * as one batch. */
#include <linnet.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads a PGM file of width x height into `pixels` as 0..1; 0 if it is not one. */
static int read_pgm(const char* path, size_t width, size_t height, float* pixels) {
  size_t w, h, i;
  int most, value;
  FILE* file = fopen(path, "rb");
  if (!file) return 0;
  if (fscanf(file, "P5 %zu %zu %d", &w, &h, &most) != 3 || w != width || h != height || most < 1 ||
      most > 255) {
    fclose(file);
    return 0;
  }
  fgetc(file); /* the one byte between header and pixels */
  for (i = 0; i < w * h && (value = fgetc(file)) != EOF; ++i)
    pixels[i] = (float)value / (float)most;
  fclose(file);
  return i == w * h;
}

int main(int argc, char** argv) {
  linnet_session* net = NULL;
  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL.onnx IMAGE.pgm...\n", argv[0]);
    return 1;
  }
  if (linnet_load(argv[1], NULL, &net) != LINNET_OK) {
    fprintf(stderr, "%s\n", linnet_error());
    return 1;
  }
  const linnet_tensor *image = linnet_input(net, 0), *scores = linnet_output(net, 0);
  const size_t batch = (size_t)(argc - 2);
  int status = 1;
  float* pixels = malloc(batch * image->count * sizeof(float));
  float* results = malloc(batch * scores->count * sizeof(float));
  if (image->rank != 4 || image->shape[1] != 1 || linnet_input_count(net) != 1 || !pixels ||
      !results) {
    fprintf(stderr, "%s: not a model of grey-scale images, or out of memory\n", argv[1]);
    goto end;
  }
  for (size_t n = 0; n < batch; ++n) {
    if (!read_pgm(argv[2 + n], (size_t)image->shape[3], (size_t)image->shape[2],
                  pixels + n * image->count)) {
      fprintf(stderr, "%s: not a binary PGM of %dx%d\n", argv[2 + n], (int)image->shape[3],
              (int)image->shape[2]);
      goto end;
    }
  }
  const void* inputs[] = {pixels};
  void* outputs[] = {results};
  if (linnet_run(net, (int64_t)batch, inputs, outputs) != LINNET_OK) {
    fprintf(stderr, "%s\n", linnet_error());
    goto end;
  }
  for (size_t n = 0; n < batch; ++n) {
    const float* row = results + n * scores->count;
    size_t best = 0;
    for (size_t i = 1; i < scores->count; ++i) {
      if (row[i] > row[best]) best = i;
    }
    printf("%s: class %zu (%.4f)\n", argv[2 + n], best, (double)row[best]);
  }
  status = 0;
end:
  free(pixels);
  free(results);
  linnet_free(net);
  return status;
}
