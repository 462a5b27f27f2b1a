// Marks around what counter.c counts; they do nothing else.
#pragma once

#if defined(__aarch64__)
inline void begin_region() { asm volatile("mov x12, x12" ::: "memory"); }
inline void end_region() { asm volatile("mov x11, x11" ::: "memory"); }
#else
inline void begin_region() { asm volatile("mov r12, r12" ::: "memory"); }
inline void end_region() { asm volatile("mov r11, r11" ::: "memory"); }
#endif
