/* malloc and its kin for a program that must not wait for memory in its stream.
 *
 *     hb_heap_enter();
 *     hb_process(runtime, chunk, output);
 *     hb_heap_leave();
 *
 * ONNX Runtime makes a thousand small objects for every run and frees them, whatever its caller does. What the calling
 * thread asks for between the two comes from a fixed arena, in constant time: blocks of powers of two, kept in lists once
 * they are freed. Outside, and should the arena be full, the C library serves (glibc). Link hb_heap.c into the program
 * itself: there it takes the place of malloc for all libraries.
 */
#ifndef HB_HEAP_H
#define HB_HEAP_H

#include <stddef.h>

#define HB_HEAP_BYTES (1 << 20)

typedef struct {
    unsigned long served; /* requests that the arena served */
    unsigned long beyond; /* between enter and leave, but left to the C library: none, if the arena is large enough */
    size_t used;          /* bytes of the arena that are in blocks */
} hb_heap_report;

/* By one thread of the program; not nested. */
void hb_heap_enter(void);
void hb_heap_leave(void);

hb_heap_report hb_heap_counts(void);

#endif
