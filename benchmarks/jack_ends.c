/* Microphones and headphones without a sound card: two clients of a JACK server that lose nothing unnoticed.
 *
 *     jack_ends SOUND HEARD       (cc -O2 jack_ends.c -ljack -lpthread)
 *
 * Client `mic` plays SOUND, from the line "go" on standard input on; client `ears` keeps what reaches it in HEARD. Both
 * files are float32, left and right interleaved; what is played and kept has its place by the server's frame time, so
 * that a lost period leaves a hole (NaN in HEARD) and moves nothing. When all is played, each hole and each time that
 * the machine itself stood still is printed, with the server's complaints, in frames of SOUND:
 *
 *     lost mic FRAME FRAMES       `mic` was not called in time
 *     lost ears FRAME FRAMES      `ears` was not called in time
 *     stall FRAME FRAMES          a thread above every other priority woke up that late
 *     xrun FRAME 0                the server says that somebody was late
 */
#define _GNU_SOURCE
#include <jack/jack.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const float FAINT = 1e-5f;  // before and after: microphones without any sound are taken for lost
enum { MOST_EVENTS = 100000, MOST_CPUS = 64, WATCH_US = 1000, STALL_US = 2000, TAIL_FRAMES = 16000 };

typedef struct {
    const char *what;
    int64_t frame, frames;
} event_t;

typedef struct {
    const char *name;
    jack_client_t *client;
    jack_port_t *ports[2];
    int64_t next; /* the frame that should come next, -1 before the first */
} end_t;

static end_t mic = {.name = "lost mic", .next = -1}, ears = {.name = "lost ears", .next = -1};
static float *sound, *heard;
static int64_t frames;
static atomic_bool going;
static atomic_llong origin = -1; /* the server's frame time of SOUND's first frame */
static atomic_bool ended;
static event_t events[MOST_EVENTS];
static atomic_int count;

static void note(const char *what, int64_t frame, int64_t length) {
    int n = atomic_fetch_add(&count, 1);
    if (n < MOST_EVENTS) events[n] = (event_t){what, frame, length};
}

/* Where this period lies in SOUND; -1 outside of it. Notes what was left out since the last one. */
static int64_t place(end_t *end, jack_nframes_t period) {
    int64_t begin = atomic_load(&origin);
    if (begin < 0) return -1;
    int64_t at = (int64_t)jack_last_frame_time(end->client) - begin;
    if (at < 0 || at + period > frames + TAIL_FRAMES) return -1;
    if (end->next >= 0 && at > end->next) note(end->name, end->next, at - end->next);
    end->next = at + period;
    return at;
}

static int play(jack_nframes_t period, void *unused) {
    (void)unused;
    if (atomic_load(&going) && atomic_load(&origin) < 0) atomic_store(&origin, jack_last_frame_time(mic.client));
    int64_t at = place(&mic, period);
    for (int ear = 0; ear < 2; ear++) {
        float *out = jack_port_get_buffer(mic.ports[ear], period);
        for (jack_nframes_t n = 0; n < period; n++) out[n] = at >= 0 && at + n < frames ? sound[2 * (at + n) + ear] : FAINT;
    }
    return 0;
}

static int keep(jack_nframes_t period, void *unused) {
    (void)unused;
    int64_t at = place(&ears, period);
    for (int ear = 0; ear < 2 && at >= 0; ear++) {
        const float *in = jack_port_get_buffer(ears.ports[ear], period);
        for (jack_nframes_t n = 0; n < period; n++) heard[2 * (at + n) + ear] = in[n];
    }
    if (at >= frames + TAIL_FRAMES / 2) atomic_store(&ended, true);
    return 0;
}

static int complain(void *unused) {
    (void)unused;
    int64_t begin = atomic_load(&origin);
    if (begin >= 0) note("xrun", (int64_t)jack_frame_time(ears.client) - begin, 0);
    return 0;
}

/* Wakes up every millisecond, before all others: when it is late, nothing could have run on this processor. */
static void *watch(void *cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)(intptr_t)cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    struct sched_param priority = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority)) return NULL; /* then it could be anybody's fault */
    struct timespec due, now;
    clock_gettime(CLOCK_MONOTONIC, &due);
    while (!atomic_load(&ended)) {
        due.tv_nsec += 1000 * WATCH_US;
        if (due.tv_nsec >= 1000000000) due.tv_nsec -= 1000000000, due.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t late_us = (now.tv_sec - due.tv_sec) * 1000000 + (now.tv_nsec - due.tv_nsec) / 1000;
        if (late_us < STALL_US) continue;
        int64_t begin = atomic_load(&origin), length = late_us * jack_get_sample_rate(mic.client) / 1000000;
        if (begin >= 0) note("stall", (int64_t)jack_frame_time(mic.client) - begin - length, length);
        due = now;
    }
    return NULL;
}

static void join(end_t *end, const char *name, unsigned long flags, JackProcessCallback call) {
    end->client = jack_client_open(name, JackNoStartServer, NULL);
    if (!end->client) exit(2);
    for (int ear = 0; ear < 2; ear++)
        end->ports[ear] = jack_port_register(end->client, ear ? "right" : "left", JACK_DEFAULT_AUDIO_TYPE, flags, 0);
    jack_set_process_callback(end->client, call, NULL);
    if (end == &ears) jack_set_xrun_callback(end->client, complain, NULL);
    if (jack_activate(end->client)) exit(2);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    FILE *file = fopen(argv[1], "rb");
    if (!file || fseek(file, 0, SEEK_END)) return 2;
    frames = ftell(file) / 8;
    rewind(file);
    size_t kept = 2 * (size_t)(frames + TAIL_FRAMES);
    sound = malloc(8 * (size_t)frames);
    heard = malloc(sizeof(float) * kept);
    if (!sound || !heard || fread(sound, 8, (size_t)frames, file) != (size_t)frames) return 2;
    fclose(file);
    for (size_t n = 0; n < kept; n++) heard[n] = NAN;
    mlockall(MCL_CURRENT | MCL_FUTURE);

    join(&mic, "mic", JackPortIsOutput, play);
    join(&ears, "ears", JackPortIsInput, keep);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (intptr_t cpu = 0; cpu < cpus && cpu < MOST_CPUS; cpu++) {
        pthread_t watcher;
        pthread_create(&watcher, NULL, watch, (void *)cpu);
    }
    puts("ready");
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 2;
    atomic_store(&going, true);
    while (!atomic_load(&ended)) usleep(100000);

    jack_client_close(mic.client);
    jack_client_close(ears.client);
    file = fopen(argv[2], "wb");
    if (!file || fwrite(heard, sizeof(float), kept, file) != kept || fclose(file)) return 2;
    int noted = atomic_load(&count);
    for (int n = 0; n < noted && n < MOST_EVENTS; n++)
        printf("%s %lld %lld\n", events[n].what, (long long)events[n].frame, (long long)events[n].frames);
    return 0;
}
