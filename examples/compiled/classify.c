/* Recognises a digit with the network that linnet compiled into this program. The image is a file of 88 x 88 bytes, grey,
 * as a camera writes a frame:
 *
 *   make && ./classify frame.raw
 */
#include <stdio.h>

#include "net.h"

enum { SIDE = 88, ALIGN = NET_ALIGNMENT };

static unsigned char frame[SIDE * SIDE];
static float input[NET_INPUT_0_COUNT], output[NET_OUTPUT_0_COUNT];
static unsigned char space[NET_ARENA + ALIGN];

int main(int argc, char** argv) {
  const void* const inputs[] = {input};
  void* const outputs[] = {output};
  unsigned char* arena = space;
  int i, best = 0;
  FILE* file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file || fread(frame, 1, sizeof frame, file) != sizeof frame) {
    fprintf(stderr, "usage: classify FRAME, a file of %d bytes\n", SIDE * SIDE);
    return 1;
  }
  fclose(file);
  while ((uintptr_t)arena % ALIGN) ++arena;
  for (i = 0; i < NET_INPUT_0_COUNT; ++i) input[i] = (float)frame[i] / 255.0f;
  net_run(inputs, outputs, arena);
  for (i = 1; i < NET_OUTPUT_0_COUNT; ++i)
    if (output[i] > output[best]) best = i;
  printf("%d (%.4f)\n", best, output[best]);
  return 0;
}
