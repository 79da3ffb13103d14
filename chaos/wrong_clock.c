/* Preloaded into a worker: its wall clock is off and drifts, and jumps when chaos/clock.py says so.
 *
 * libfaketime would do, but the one that Debian 12 has breaks each absolute sleep on the monotonic clock, which is every
 * time.sleep() of Python. The monotonic clocks are left alone, as they are on a machine whose wall clock is wrong.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Written by another process at any moment. */
struct wrong { double offset_s, drift, since; };
static const volatile struct wrong *wrong;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *wrong, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) wrong = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || !wrong || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    struct timespec monotonic;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic);
    double since_s = monotonic.tv_sec + monotonic.tv_nsec / 1e9 - wrong->since;
    long long off_ns = (wrong->offset_s + wrong->drift * since_s) * 1e9;
    long long at_ns = now->tv_sec * 1000000000LL + now->tv_nsec + off_ns;
    now->tv_sec = at_ns / 1000000000LL;
    now->tv_nsec = at_ns % 1000000000LL;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
