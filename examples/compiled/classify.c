/* Recognises a digit with the network that linnet compiled into this program. The file holds a frame as a camera gives it, here
 * 640 x 480 pixels in the planes Y, U and V:
 *
 *   rpicam-vid --frames 1 --width 640 --height 480 --codec yuv420 -o frame.raw
 *   make && ./classify frame.raw
 */
#include <stdio.h>

#include "net.h"

static uint8_t frame[NET_INPUT_0_COUNT];
static int32_t digits[NET_OUTPUT_0_COUNT];
static float scores[NET_OUTPUT_1_COUNT];
static unsigned char space[NET_ARENA + NET_ALIGNMENT];

int main(int argc, char** argv) {
  const void* const inputs[] = {frame};
  void* const outputs[] = {digits, scores};
  unsigned char* arena = space;
  int i;
  FILE* file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file || fread(frame, 1, sizeof frame, file) != sizeof frame) {
    fprintf(stderr, "usage: classify FRAME, a file of %d bytes\n", NET_INPUT_0_COUNT);
    return 1;
  }
  fclose(file);
  while ((uintptr_t)arena % NET_ALIGNMENT) ++arena;
  net_run(inputs, outputs, arena);
  for (i = 0; i < NET_OUTPUT_0_COUNT; ++i) printf("%d (%.4f)\n", (int)digits[i], scores[i]);
  return 0;
}
