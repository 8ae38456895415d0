# The default floating-point mode of a thread: round to nearest, keep subnormals, trap nothing. Another package may have switched on
# flushing of subnormals (FTZ, DAZ), and worker threads inherit it; results must not depend on that. The caller's mode and status
# flags come back afterwards, without the flags that were raised here.
#
# Compilers do not know that arithmetic depends on the mode, and may move it across the two calls. Both calls are barriers for what
# lies in memory. Numbers in registers, operands and results, go through held(), which compilers neither see through nor move.

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define CYLOSSES_BARRIER() __asm__ volatile("" : : : "memory")
    #else
    #define CYLOSSES_BARRIER() ((void)0)
    #endif
    #if defined(__x86_64__) || defined(_M_X64)
    #include <xmmintrin.h>
    typedef unsigned int cylosses_mode;
    static inline cylosses_mode cylosses_set_default_mode(void) {
        cylosses_mode old = _mm_getcsr(), mode = (old & 0x3fu) | 0x1f80u;
        if (old != mode) _mm_setcsr(mode);
        CYLOSSES_BARRIER();
        return old;
    }
    static inline void cylosses_restore_mode(cylosses_mode old) {
        CYLOSSES_BARRIER();
        if (_mm_getcsr() != old) _mm_setcsr(old);
    }
    #elif defined(__aarch64__) && defined(__GNUC__)
    typedef unsigned long cylosses_mode;                /* the control register above, the status register in the low half */
    static inline cylosses_mode cylosses_set_default_mode(void) {
        cylosses_mode control, status;
        __asm__ volatile("mrs %0, fpcr" : "=r"(control));
        __asm__ volatile("mrs %0, fpsr" : "=r"(status));
        if (control) __asm__ volatile("msr fpcr, %0" : : "r"(0ul));
        CYLOSSES_BARRIER();
        return control << 32 | (status & 0xfffffffful);
    }
    static inline void cylosses_restore_mode(cylosses_mode old) {
        CYLOSSES_BARRIER();
        if (old >> 32) __asm__ volatile("msr fpcr, %0" : : "r"(old >> 32));
        __asm__ volatile("msr fpsr, %0" : : "r"(old & 0xfffffffful));
    }
    #else
    typedef int cylosses_mode;
    static inline cylosses_mode cylosses_set_default_mode(void) { return 0; }
    static inline void cylosses_restore_mode(cylosses_mode old) { (void)old; }
    #endif
    /* MSVC has no assembly here: a volatile variable takes some cycles more. */
    #if defined(__GNUC__) && defined(__x86_64__)
    #define CYLOSSES_HOLD(v) __asm__ volatile("" : "+x"(v))
    #elif defined(__GNUC__) && defined(__aarch64__)
    #define CYLOSSES_HOLD(v) __asm__ volatile("" : "+w"(v))
    #endif
    #ifdef CYLOSSES_HOLD
    static inline double cylosses_held(double v) { CYLOSSES_HOLD(v); return v; }
    static inline float cylosses_held_single(float v) { CYLOSSES_HOLD(v); return v; }
    #else
    static inline double cylosses_held(double v) { volatile double w = v; return w; }
    static inline float cylosses_held_single(float v) { volatile float w = v; return w; }
    #endif
    """
    ctypedef unsigned long cylosses_mode
    cylosses_mode set_default_mode "cylosses_set_default_mode"() noexcept nogil
    void restore_mode "cylosses_restore_mode"(cylosses_mode old) noexcept nogil
    double held "cylosses_held"(double v) noexcept nogil
    float held_single "cylosses_held_single"(float v) noexcept nogil
