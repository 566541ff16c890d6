/* Cortex-M under QEMU: vectors, start-up, semihosting, SysTick as a counter. No C library but memcpy and memset. */
#include "board.h"

#include <string.h>

extern uint32_t board_stack_low[], board_stack_high[], board_data_load[], board_data[], board_data_end[];
extern uint32_t board_bss[], board_bss_end[];
int main(void);
void board_reset(void);
void board_fault(void);

__attribute__((section(".vectors"), used)) void *const board_vectors[16] = {
    board_stack_high, (void *)board_reset, (void *)board_fault, (void *)board_fault,
    (void *)board_fault, (void *)board_fault, (void *)board_fault, (void *)board_fault,
    0, 0, 0, (void *)board_fault, (void *)board_fault, 0, (void *)board_fault, (void *)board_fault};

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CPACR REGISTER(0xe000ed88u)
#define SYST_CSR REGISTER(0xe000e010u)
#define SYST_RVR REGISTER(0xe000e014u)
#define SYST_CVR REGISTER(0xe000e018u)
#define PAINT 0x5aa5c33cu

void board_reset(void) {
    CPACR |= 0xf00000u; /* floating point and Helium */
    __asm volatile("dsb\n isb");
    memcpy(board_data, board_data_load, (size_t)((char *)board_data_end - (char *)board_data));
    memset(board_bss, 0, (size_t)((char *)board_bss_end - (char *)board_bss));
    uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    for (uint32_t *word = board_stack_low; word < here - 64; word++) *word = PAINT;
    SYST_RVR = 0xffffffu;
    SYST_CVR = 0;
    SYST_CSR = 5; /* on, from the processor's clock, no interrupt */
    board_exit(main());
}

void board_fault(void) {
    board_print("fault\n");
    board_exit(1);
}

static int32_t call(int32_t operation, const void *arguments) {
    register int32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int board_open(const char *name, int write) {
    const uint32_t block[3] = {(uint32_t)name, write ? 5 : 1, strlen(name)};
    return call(1, block);
}

int board_read(int file, void *buffer, int bytes) {
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)buffer, (uint32_t)bytes};
    return bytes - call(6, block);
}

int board_write(int file, const void *buffer, int bytes) {
    const uint32_t block[3] = {(uint32_t)file, (uint32_t)buffer, (uint32_t)bytes};
    return bytes - call(5, block);
}

void board_print(const char *text) { call(4, text); }

void board_print_number(const char *label, uint32_t value) {
    char digits[12], *d = digits + sizeof digits - 2;
    d[0] = '\n';
    d[1] = 0;
    do {
        *--d = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    board_print(label);
    board_print(" ");
    board_print(d);
}

void board_exit(int failed) {
    const uint32_t block[2] = {0x20026u, (uint32_t)failed};
    call(0x20, block);
    for (;;) {
    }
}

uint64_t board_instructions(void) {
    static uint64_t ticks;
    static uint32_t last = 0xffffffu;
    const uint32_t now = SYST_CVR;
    ticks += (last - now) & 0xffffffu;
    last = now;
    return ticks * 1000 / (BOARD_CLOCK_HZ / 1000000);
}

uint32_t board_stack_bytes(void) {
    const uint32_t *word = board_stack_low;
    while (*word == PAINT) word++;
    return (uint32_t)((const char *)board_stack_high - (const char *)word);
}
