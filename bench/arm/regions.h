// Marks around what counter.c counts; they do nothing else. Aligned, since QEMU shows a plugin the
// last Thumb instruction before a page's end joined to what follows it.
#pragma once

#if defined(__aarch64__)
inline void begin_region() { asm volatile("mov x12, x12" ::: "memory"); }
inline void end_region() { asm volatile("mov x11, x11" ::: "memory"); }
#else
inline void begin_region() { asm volatile(".balign 8\n\tmov r12, r12" ::: "memory"); }
inline void end_region() { asm volatile(".balign 8\n\tmov r11, r11" ::: "memory"); }
#endif
