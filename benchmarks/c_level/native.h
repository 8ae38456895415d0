/* What Cython cannot say: a clock, the frequency of the core, and a bare read loop to compare with. */
#include <stdint.h>
#include <stddef.h>
#include <time.h>

static inline double native_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Ticks of the time stamp counter, where there is one: they run at a fixed rate, whatever the core does. */
static inline uint64_t native_ticks(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

/* A chain of additions, each waiting for the one before: one cycle each on every core of the last decades.
   The assembly keeps the compiler from folding them. */
#if defined(__GNUC__) && defined(__x86_64__)
#define NATIVE_STEP __asm__ volatile("add $1, %0" : "+r"(chain));
#elif defined(__GNUC__) && defined(__aarch64__)
#define NATIVE_STEP __asm__ volatile("add %0, %0, #1" : "+r"(chain));
#endif

static inline double native_hertz(void) {
#ifdef NATIVE_STEP
    const int rounds = 200000;
    uint64_t chain = 0;
    double start = native_seconds();
    for (int i = 0; i < rounds; i++) {
        NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP
        NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP
        NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP
        NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP NATIVE_STEP
    }
    return 32.0 * rounds / (native_seconds() - start);
#else
    return 0;
#endif
}

/* Reads two arrays of n words each and does next to nothing with them. Integer sums may be reordered, so compilers vectorise. */
static inline uint64_t native_read_range(const uint64_t *x, const uint64_t *y, ptrdiff_t first, ptrdiff_t last) {
    uint64_t sum = 0;
    for (ptrdiff_t i = first; i < last; i++) {
        sum += x[i] ^ y[i];
    }
    return sum;
}

static uint64_t native_read(const uint64_t *x, const uint64_t *y, ptrdiff_t n, int threads) {
    uint64_t sum = 0;
    if (threads == 1) {
        return native_read_range(x, y, 0, n);
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static, 1)
#endif
    for (int t = 0; t < threads; t++) {
        sum += native_read_range(x, y, n * t / threads, n * (t + 1) / threads);
    }
    return sum;
}
