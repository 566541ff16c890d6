/* Runs a generated model on test vectors of the host and reports what it took.
 *
 * Reads conditioning.f32, then chunks from input.f32, and writes output.f32; HB_MODEL is the model's name. */
#include "board.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define MODEL JOIN(hb_, HB_MODEL)
#define CALL(what) JOIN(MODEL, what)
#define SIZE(what) JOIN(JOIN(HB_, HB_MODEL_UPPER), what)
#include HB_MODEL_HEADER

static MODEL model;
static float conditioning[SIZE(_CONDITIONING_VALUES)];
static float input[2 * SIZE(_CHUNK_SAMPLES)], output[2 * SIZE(_CHUNK_SAMPLES)];

/* The counter against a loop of a million times two instructions. */
static uint32_t two_million(void) {
    uint32_t n = 1000000;
    const uint64_t before = board_instructions();
    __asm volatile(".balign 4\n1: subs %0, #1\n bne 1b" : "+r"(n) : : "cc");
    return (uint32_t)(board_instructions() - before);
}

int main(void) {
    board_print_number("calibration", two_million());
    const int given = board_open("conditioning.f32", 0), from = board_open("input.f32", 0);
    const int to = board_open("output.f32", 1);
    if (given < 0 || from < 0 || to < 0 || board_read(given, conditioning, sizeof conditioning) != sizeof conditioning) {
        board_print("vectors cannot be opened\n");
        return 1;
    }
    CALL(_start)(&model, conditioning);
    uint32_t chunks = 0, most = 0;
    uint64_t all = 0;
    while (board_read(from, input, sizeof input) == sizeof input) {
        const uint64_t before = board_instructions();
        CALL(_process)(&model, input, output);
        const uint32_t taken = (uint32_t)(board_instructions() - before);
        all += taken;
        if (taken > most) most = taken;
        chunks++;
        if (board_write(to, output, sizeof output) != sizeof output) return 1;
    }
    board_print_number("chunks", chunks);
    board_print_number("instructions_mean", chunks ? (uint32_t)(all / chunks) : 0);
    board_print_number("instructions_max", most);
    board_print_number("stack_bytes", board_stack_bytes());
    board_print_number("model_bytes", sizeof model);
    return chunks == 0;
}
