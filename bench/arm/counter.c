/* counter: a plugin of QEMU's user-mode emulator that counts instructions by class inside marked
 * regions.
 *
 *   gcc -O2 -fPIC -shared -I FOLDER_OF_qemu-plugin.h counter.c -o counter.so
 *   qemu-arm -plugin ./counter.so,out=counts.txt -L SYSROOT program
 *
 * A region begins with `mov r12, r12` and ends with `mov r11, r11` (x12 and x11 on 64-bit ARM),
 * which compilers never write. Each region appends one line to the file, "all=N mac=N vector=N
 * load=N store=N branch=N", in the order in which they end. Only the thread that entered a region
 * is counted. With blocks=FILE, too, each region also appends there a line "address instructions
 * times" for every piece of straight code that ran, and then an empty line. The header is under the GPL, which is why this is a tool of its own that nothing of
 * linnet links. */
#include <qemu-plugin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* MAC: multiply-accumulate of any width. VECTOR: other floating-point or SIMD. LOAD and STORE: of
 * either register file. */
enum { MAC, VECTOR, LOAD, STORE, BRANCH, INTEGER, CLASSES };
static const char* const kNames[CLASSES] = {"mac", "vector", "load", "store", "branch", "integer"};

/* Instructions that always run together. */
typedef struct Run {
  uint32_t n[CLASSES];
  uint64_t address, times;
  struct Run* next;
} Run;

static FILE *out, *blocks;
static Run* runs; /* all of them */
static int arm64;
static int inside; /* a region is open, on thread `owner` */
static unsigned owner;
static uint64_t counts[CLASSES];

static int starts(const char* s, const char* prefix) {
  return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int classify32(const char* d) {
  if (d[0] == 'v') {
    if (starts(d, "vld") || starts(d, "vpop")) return LOAD;
    if (starts(d, "vst") || starts(d, "vpush")) return STORE;
    if (starts(d, "vfm") || starts(d, "vfnm") || starts(d, "vml") || starts(d, "vnml")) return MAC;
    return VECTOR;
  }
  if (starts(d, "ld") || starts(d, "pop")) return LOAD;
  if (starts(d, "st") || starts(d, "push")) return STORE;
  if (starts(d, "cb") || starts(d, "tb")) return BRANCH;
  if (d[0] == 'b' && !starts(d, "bic") && !starts(d, "bf") && !starts(d, "bkpt")) return BRANCH;
  return INTEGER;
}

static int classify64(const char* d) {
  if (starts(d, "fmla") || starts(d, "fmls") || starts(d, "fmadd") || starts(d, "fmsub") ||
      starts(d, "fnmadd") || starts(d, "fnmsub") || starts(d, "mla") || starts(d, "mls") ||
      starts(d, "smlal") || starts(d, "umlal"))
    return MAC;
  if (starts(d, "ld")) return LOAD;
  if (starts(d, "st")) return STORE;
  if (starts(d, "cbz") || starts(d, "cbnz") || starts(d, "tbz") || starts(d, "tbnz") ||
      starts(d, "ret"))
    return BRANCH;
  if (d[0] == 'b' && (d[1] == ' ' || d[1] == '.' || d[1] == 'l' || d[1] == 'r')) return BRANCH;
  /* An operand in a vector or floating-point register: v0.4s, q0, s0, d0. */
  const char* operand = strchr(d, ' ');
  if (d[0] == 'f' || (operand && (operand[1] == 'v' || operand[1] == 'q') && operand[2] >= '0' &&
                      operand[2] <= '9'))
    return VECTOR;
  return INTEGER;
}

static void ran(unsigned thread, void* run) {
  if (!inside || thread != owner) return;
  for (int c = 0; c < CLASSES; ++c) counts[c] += ((Run*)run)->n[c];
  ++((Run*)run)->times;
}

static void begins(unsigned thread, void* unused) {
  (void)unused;
  if (inside) return;
  memset(counts, 0, sizeof counts);
  for (Run* r = runs; r; r = r->next) r->times = 0;
  owner = thread;
  inside = 1;
}

static void ends(unsigned thread, void* unused) {
  (void)unused;
  if (!inside || thread != owner) return;
  inside = 0;
  uint64_t all = 0;
  for (int c = 0; c < CLASSES; ++c) all += counts[c];
  fprintf(out, "all=%llu", (unsigned long long)all);
  for (int c = 0; c < CLASSES; ++c)
    fprintf(out, " %s=%llu", kNames[c], (unsigned long long)counts[c]);
  fputc('\n', out);
  fflush(out);
  if (!blocks) return;
  for (const Run* r = runs; r; r = r->next) {
    uint32_t size = 0;
    for (int c = 0; c < CLASSES; ++c) size += r->n[c];
    if (r->times)
      fprintf(blocks, "%llx %u %llu\n", (unsigned long long)r->address, size,
              (unsigned long long)r->times);
  }
  fputc('\n', blocks);
  fflush(blocks);
}

/* 1 and 2 for the instructions that begin and end a region, else 0. */
static int marker(const struct qemu_plugin_insn* instruction) {
  const size_t size = qemu_plugin_insn_size(instruction);
  uint32_t word = 0;
  memcpy(&word, qemu_plugin_insn_data(instruction), size < 4 ? size : 4);
  if (arm64) return word == 0xaa0c03ec ? 1 : word == 0xaa0b03eb ? 2 : 0;
  if (size == 2) return word == 0x46e4 ? 1 : word == 0x46db ? 2 : 0;
  return word == 0xe1a0c00c ? 1 : word == 0xe1a0b00b ? 2 : 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
  (void)id;
  Run* run = NULL;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(block, i);
    const int mark = marker(instruction);
    if (mark) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark == 1 ? begins : ends,
                                             QEMU_PLUGIN_CB_NO_REGS, NULL);
      run = NULL;
      continue;
    }
    if (!run) {
      run = calloc(1,
                   sizeof *run); /* lives as long as the translated code, that is to say for good */
      if (!run) abort();
      run->address = qemu_plugin_insn_vaddr(instruction);
      run->next = runs;
      runs = run;
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, ran, QEMU_PLUGIN_CB_NO_REGS, run);
    }
    char* text = qemu_plugin_insn_disas(instruction);
    ++run->n[!text ? INTEGER : arm64 ? classify64(text) : classify32(text)];
    free(text);
  }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                           char** argv) {
  arm64 = strcmp(info->target_name, "aarch64") == 0;
  for (int i = 0; i < argc; ++i) {
    if (starts(argv[i], "out=")) out = fopen(argv[i] + 4, "a");
    if (starts(argv[i], "blocks=")) blocks = fopen(argv[i] + 7, "a");
  }
  if (!out) {
    fprintf(stderr, "counter: give out=FILE, which must be writable\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
