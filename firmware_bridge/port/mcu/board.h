/* What the harness needs of a board: semihosting, a counter of instructions, the stack's high-water mark. */
#ifndef HB_BOARD_H
#define HB_BOARD_H

#include <stdint.h>

/* Files of the host, by semihosting; all return a negative number, or another one than asked for, on failure. */
int board_open(const char *name, int write);
int board_read(int file, void *buffer, int bytes);
int board_write(int file, const void *buffer, int bytes);
void board_print(const char *text);
void board_print_number(const char *label, uint32_t value);
void board_exit(int failed) __attribute__((noreturn));

/* Instructions that ran since the first call, in steps of BOARD_TICK (QEMU with -icount shift=0: one a nanosecond).
 * Call it at least every 16 million ticks. */
uint64_t board_instructions(void);

/* Bytes of the stack that were ever in use. */
uint32_t board_stack_bytes(void);

#endif
